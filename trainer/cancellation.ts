// Notices that a round that is running was cancelled. What is written about it is refused in any case (stages/log.ts); this
// ends a stage that writes nothing for minutes.
import { eq } from 'drizzle-orm';
import type { Database } from '../shared/database/connect.ts';
import { rounds } from '../shared/database/schema.ts';
import { AttuneError } from '../shared/error.ts';

const POLL_INTERVAL_MS = 1000;

export type CancellationWatch = { signal: AbortSignal; close(): void };

/** `signal` is aborted when the round is cancelled. */
export function watchCancellation(db: Database, roundId: string): CancellationWatch {
  const cancelled = new AbortController();
  const timer = setInterval(async () => {
    // If Postgres is unreachable, the next poll may not be.
    if (await isCancelled(db, roundId).catch(() => false)) cancelled.abort(new AttuneError('cancelled'));
  }, POLL_INTERVAL_MS);
  return { signal: cancelled.signal, close: () => clearInterval(timer) };
}

export async function isCancelled(db: Database, roundId: string): Promise<boolean> {
  const [row] = await db.select({ status: rounds.status }).from(rounds).where(eq(rounds.id, roundId));
  return row?.status === 'cancelled';
}
