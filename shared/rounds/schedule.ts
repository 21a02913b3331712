// Queues rounds: on request, and at every tick of the schedule (pg-boss on Node, a cron trigger in a Worker) if enough
// new pairs exist. Concurrent ticks queue one round. No advisory lock: Cloudflare's connection pool has none.

import { and, desc, eq, inArray, sql } from 'drizzle-orm';
import { notifyChange } from '../database/channels.ts';
import type { Database } from '../database/connect.ts';
import { type RoundMethod, type RoundStage, UNFINISHED_STATUSES } from '../database/round-types.ts';
import { activations, canaries, rounds } from '../database/schema.ts';
import { AttuneError } from '../error.ts';
import { newId } from '../id.ts';
import type { Settings } from '../settings.ts';
import { countNewPairs, countPairsAddedSince, countUsedPairs } from './pairs.ts';
import type { RoundRequest } from './settings.ts';

/** Those that wait; concurrent requests may exceed it by a few. */
const MAX_QUEUED = 32;

export type RoundRow = typeof rounds.$inferSelect;

export type RoundOptions = { method?: RoundMethod; fromRoot?: boolean | undefined; isDryRun?: boolean | undefined };

/** Queues a round and notifies the trainers. */
export async function requestRound(
  db: Database,
  trigger: RoundRow['trigger'],
  request: RoundRequest,
  { method = 'dil', fromRoot = false, isDryRun = false }: RoundOptions = {},
): Promise<RoundRow> {
  return db.transaction(async (transaction) => {
    const queued = await transaction.$count(rounds, eq(rounds.status, 'queued'));
    if (queued >= MAX_QUEUED)
      throw new AttuneError(
        `${queued} rounds are queued, and one runs at a time; wait for one to end, or cancel some with POST /v1/rounds/{id}/cancel`,
        { status: 409, code: 'too_many_rounds', retry: false },
      );
    const [row] = await transaction
      .insert(rounds)
      .values({ id: newId('round_'), method, trigger, settings: request, from_root: fromRoot, dry_run: isDryRun })
      .returning();
    await notifyChange(transaction, row!.id);
    return row!;
  });
}

type ScheduleSettings = Pick<Settings, 'TRAIN_MIN_PAIRS' | 'TRAIN_RETRY_SHARE'>;

/** Queues a round if nothing keeps the schedule waiting. */
export async function requestRoundIfDue(db: Database, settings: ScheduleSettings): Promise<void> {
  if ((await findObstacle(db, settings)) !== null) return;
  await db.transaction(async (transaction) => {
    // Concurrent ticks wait here for each other; readers of rounds do not, and writers wait a few milliseconds.
    await transaction.execute(sql`lock table ${rounds} in share row exclusive mode`);
    if ((await findObstacle(transaction, settings)) === null) await requestRound(transaction, 'schedule', {});
  });
}

/**
 * What the schedule waits for, in words; null if a round is due. A round that is requested does not wait for it, and nothing
 * waits for a dry run.
 */
export async function findObstacle(db: Database, settings: ScheduleSettings): Promise<string | null> {
  const isUnfinished = and(inArray(rounds.status, UNFINISHED_STATUSES), eq(rounds.dry_run, false));
  const [unfinished] = await db.select().from(rounds).where(isUnfinished).limit(1);
  if (unfinished) return `${unfinished.id} is ${unfinished.status}`;
  const [active] = await db.select().from(activations).orderBy(desc(activations.id)).limit(1);
  if (!active) return 'there is no active policy';
  // Its parent would be the policy that the canary is about to replace.
  const [canary] = await db.select().from(canaries).where(eq(canaries.state, 'running'));
  if (canary) return `${canary.policy_id} is a canary (${canary.id})`;
  const { TRAIN_MIN_PAIRS: minPairs } = settings;
  const newPairs = await countNewPairs(db, minPairs);
  if (newPairs < minPairs) return `there are ${newPairs} new pairs of TRAIN_MIN_PAIRS (${minPairs})`;
  return findRepetition(db, active.policy_id, settings);
}

const OUTCOMES: Partial<Record<RoundStage, string>> = {
  refused: 'was refused',
  active: 'was rolled back',
  rolled_back: 'was rolled back',
  published: 'did not become active',
  cancelled: 'was cancelled',
};

/**
 * If the last round from the active policy has not replaced it, another one on the same pairs would end in the same way.
 * After a result, the schedule waits for a share of the pairs that the round used; after a failure, for one.
 */
async function findRepetition(db: Database, activeId: string, settings: ScheduleSettings): Promise<string | null> {
  const ofPolicies = and(eq(rounds.parent_id, activeId), eq(rounds.method, 'dil'), eq(rounds.dry_run, false));
  const [last] = await db.select().from(rounds).where(ofPolicies).orderBy(desc(rounds.id)).limit(1);
  if (!last) return null;
  const { TRAIN_RETRY_SHARE: share } = settings;
  const used = last.status === 'succeeded' ? await countUsedPairs(db, last.id) : 0;
  const needed = Math.max(1, Math.ceil(used * share));
  const added = await countPairsAddedSince(db, last.id, needed);
  if (added >= needed) return null;
  const outcome = OUTCOMES[last.stage] ?? last.status;
  const rule = used > 0 ? ` (TRAIN_RETRY_SHARE, ${share} of the ${used} that it used)` : '';
  const awaited = needed === 1 ? 'another pair' : `${needed} more${rule}, and ${added} have come`;
  return `${last.id} ${outcome} on these pairs; the next one needs ${awaited}`;
}
