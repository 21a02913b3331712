// Notices when this process cannot query Postgres although a new connection can: the fault is then in the process, and
// only a restart is certain to mend it. An unreachable or overloaded Postgres is no such fault.

import { setTimeout as sleep } from 'node:timers/promises';
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
    // Any query of this process is a sign of life; an idle one makes its own.
    const ownQuery = db.execute(sql`select 1`).catch(() => {});
    if (performance.now() - observed.respondedMs < limitMs) return;
    if (!(await canConnect(url, connectMs))) return;
    // After a pause of the whole process nothing has been asked for as long: its own query gets as much time.
    await Promise.race([ownQuery, sleep(connectMs, undefined, { ref: false })]);
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
  const timeout = sleep(timeoutMs, false, { ref: false });
  const answer = connection.db.execute(sql`select 1`).then(
    () => true,
    () => false,
  );
  const isAnswered = await Promise.race([answer, timeout]);
  void connection.close();
  return isAnswered;
}
