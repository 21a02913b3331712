// Queues rounds: on request, and at every tick of the schedule (pg-boss on Node, a cron trigger in a Worker) if enough
// new pairs exist. Concurrent ticks queue one round. No advisory lock: Cloudflare's connection pool has none.

import { desc, gt, inArray, sql } from 'drizzle-orm';
import { notifyChange } from '../database/channels.ts';
import type { Database } from '../database/connect.ts';
import { UNFINISHED_STATUSES } from '../database/round-types.ts';
import { preferences, rounds } from '../database/schema.ts';
import { newId } from '../id.ts';
import type { Settings } from '../settings.ts';
import { countNewPairs } from './pairs.ts';
import type { RoundRequest } from './settings.ts';

export type RoundRow = typeof rounds.$inferSelect;

/** Queues a round and notifies the trainers. */
export async function requestRound(
  db: Database,
  trigger: RoundRow['trigger'],
  request: RoundRequest,
): Promise<RoundRow> {
  return db.transaction(async (transaction) => {
    const [row] = await transaction
      .insert(rounds)
      .values({ id: newId('round_'), trigger, settings: request })
      .returning();
    await notifyChange(transaction, row!.id);
    return row!;
  });
}

/** Queues a round if enough new pairs exist and no round is queued or running. */
export async function requestRoundIfDue(db: Database, settings: Pick<Settings, 'TRAIN_MIN_PAIRS'>): Promise<void> {
  if (!(await isRoundDue(db, settings))) return;
  await db.transaction(async (transaction) => {
    // Concurrent ticks wait here for each other; readers of rounds do not, and writers wait a few milliseconds.
    await transaction.execute(sql`lock table ${rounds} in share row exclusive mode`);
    if (await isRoundDue(transaction, settings)) await requestRound(transaction, 'schedule', {});
  });
}

async function isRoundDue(db: Database, settings: Pick<Settings, 'TRAIN_MIN_PAIRS'>): Promise<boolean> {
  if ((await db.$count(rounds, inArray(rounds.status, UNFINISHED_STATUSES))) > 0) return false;
  const [last] = await db.select().from(rounds).orderBy(desc(rounds.id)).limit(1);
  // A scheduled round that failed would fail again on the same pairs: wait for another preference.
  const failedAt = last?.trigger === 'schedule' && last.status === 'failed' ? last.created_at : null;
  if (failedAt && (await db.$count(preferences, gt(preferences.created_at, failedAt))) === 0) return false;
  return (await countNewPairs(db)) >= settings.TRAIN_MIN_PAIRS;
}
