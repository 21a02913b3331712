// Notices when this process cannot query Postgres although a new connection can: the fault is then in the process, and
// only a restart is certain to mend it. An unreachable or overloaded Postgres is no such fault.

import { sql } from 'drizzle-orm';
import { type Connection, connect } from '../shared/database/connect.ts';

export const STUCK = 'Postgres answers a new connection, but has not answered this process for 30 seconds';

export type Watchdog = { close(): void };

/** Milliseconds without any response until the process counts as stuck, between two checks, and for a new connection. */
const TIMES = { limitMs: 30_000, intervalMs: 5000, connectMs: 5000 };

/** Calls `onStuck` once, and then watches no more. */
export function watchPostgres(
  { db, url, observed }: Pick<Connection, 'db' | 'url' | 'observed'>,
  onStuck: () => void,
  { limitMs, intervalMs, connectMs } = TIMES,
): Watchdog {
  let isClosed = false;
  let isChecking = false;

  const check = async () => {
    if (performance.now() - observed.respondedMs < limitMs) {
      // Any query of this process is a sign of life; an idle one makes its own.
      void db.execute(sql`select 1`).catch(() => {});
      return;
    }
    if (!(await canConnect(url, connectMs))) return;
    // It may have recovered meanwhile.
    if (isClosed || performance.now() - observed.respondedMs < limitMs) return;
    close();
    onStuck();
  };

  const timer = setInterval(async () => {
    if (isChecking) return;
    isChecking = true;
    await check();
    isChecking = false;
  }, intervalMs);
  timer.unref();

  function close(): void {
    isClosed = true;
    clearInterval(timer);
  }
  return { close };
}

async function canConnect(url: string, timeoutMs: number): Promise<boolean> {
  const connection = connect(url, { name: 'attune watchdog', max: 1 });
  const timeout = new Promise<false>((resolve) => setTimeout(resolve, timeoutMs, false).unref());
  const answer = connection.db.execute(sql`select 1`).then(
    () => true,
    () => false,
  );
  const isAnswered = await Promise.race([answer, timeout]);
  void connection.close();
  return isAnswered;
}
