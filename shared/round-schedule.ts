// Whether a round is due, asked at every tick of the schedule: by pg-boss on Node, by a cron trigger in a Worker.
// However many ask at once, one round is asked for. No advisory lock: Cloudflare's pool of connections has none.

import { and, desc, gt, inArray, ne, sql } from 'drizzle-orm';
import type { Database } from './database/connect.ts';
import { preferences, round_pairs, rounds } from './database/schema.ts';
import { requestRound } from './round-settings.ts';
import type { Settings } from './settings.ts';

/** Asks for a round where enough new pairs have come and none waits or runs. */
export async function askIfDue(db: Database, settings: Pick<Settings, 'TRAIN_MIN_PAIRS'>): Promise<void> {
  if (!(await isDue(db, settings))) return;
  await db.transaction(async (transaction) => {
    // One asks at a time; rounds are read as before, and whoever writes one waits these few milliseconds.
    await transaction.execute(sql`lock table ${rounds} in share row exclusive mode`);
    if (await isDue(transaction, settings)) await requestRound(transaction, 'schedule', {});
  });
}

async function isDue(db: Database, settings: Pick<Settings, 'TRAIN_MIN_PAIRS'>): Promise<boolean> {
  if ((await db.$count(rounds, inArray(rounds.status, ['queued', 'running']))) > 0) return false;
  const [last] = await db.select().from(rounds).orderBy(desc(rounds.id)).limit(1);
  // What failed on these pairs would fail again on them: a round of its own waits for others.
  const since = last?.trigger === 'schedule' && last.status === 'failed' ? last.created_at : null;
  if (since && (await db.$count(preferences, gt(preferences.created_at, since))) === 0) return false;
  return (await countNewPairs(db)) >= settings.TRAIN_MIN_PAIRS;
}

/** How many strict preferences no finished round has used yet, held-out ones included. */
export async function countNewPairs(db: Database): Promise<number> {
  const [row] = await db
    .select({ n: sql<number>`count(*)::int` })
    .from(preferences)
    .where(and(isStrict, sql`not ${wasUsed}`));
  return row?.n ?? 0;
}

/** A choice of one side, between answers that differ. */
export const isStrict = and(inArray(preferences.choice, ['a', 'b']), ne(preferences.chosen, preferences.rejected));
/** Learned from in a round that came to its end. */
export const wasUsed = sql`exists (
  select 1 from ${round_pairs} join ${rounds} on ${rounds.id} = ${round_pairs.round_id}
  where ${round_pairs.preference_id} = ${preferences.id} and ${rounds.status} = 'succeeded')`;
