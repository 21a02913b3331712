// Which preferences are new: the schedule counts them, the trainer selects them, and the API reports how many there are.
// A preference is learned if it is in the round of the active policy or of one of its ancestors. The others are in
// new_pairs, so that no question about them reads the learned ones.

import { and, asc, eq, exists, gt, inArray, isNull, notExists } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { new_pairs, preferences, round_pairs, rounds } from '../database/schema.ts';
import { compareLineages } from './lineage.ts';

const ROUNDS_AT_ONCE = 32;

/** Held-out pairs included. Stops counting at `limit`. */
export function countNewPairs(db: Database, limit?: number): Promise<number> {
  const rows = db.select({ id: new_pairs.preference_id }).from(new_pairs);
  return db.$count((limit === undefined ? rows : rows.limit(limit)).as('counted'));
}

/** Of one tenant. */
export function countNewPairsOf(db: Database, tenant: string): Promise<number> {
  const rows = db
    .select({ id: new_pairs.preference_id })
    .from(new_pairs)
    .innerJoin(preferences, and(eq(preferences.id, new_pairs.preference_id), eq(preferences.tenant, tenant)));
  return db.$count(rows.as('counted'));
}

/** The pairs that a round was the first to use. */
export function countUsedPairs(db: Database, roundId: string): Promise<number> {
  return db.$count(round_pairs, and(eq(round_pairs.round_id, roundId), eq(round_pairs.replay, false)));
}

/** The new pairs that were added since a round was requested and are not among its own. Stops counting at `limit`. */
export function countPairsAddedSince(db: Database, roundId: string, limit: number): Promise<number> {
  const requestedBy = db.select({ xid: rounds.xid }).from(rounds).where(eq(rounds.id, roundId));
  const isNew = db.select().from(new_pairs).where(eq(new_pairs.preference_id, preferences.id));
  const isUsed = db
    .select()
    .from(round_pairs)
    .where(and(eq(round_pairs.round_id, roundId), eq(round_pairs.preference_id, preferences.id)));
  const added = db
    .select({ id: preferences.id })
    .from(preferences)
    .where(and(gt(preferences.xid, requestedBy), exists(isNew), notExists(isUsed)))
    // Through the index on xid: what was there before is not read.
    .orderBy(asc(preferences.xid))
    .limit(limit);
  return db.$count(added.as('added'));
}

/**
 * Called where the policy `to` becomes active in place of `from`: the pairs that only the rounds of `from` and its
 * ancestors had learned are new again, those of the rounds of `to` and its ancestors are new no longer.
 */
export async function moveNewPairs(transaction: Database, from: string | null, to: string): Promise<void> {
  const { onlyFrom, onlyTo } = await compareLineages(transaction, from, to);
  const pairsOf = (roundIds: string[]) =>
    transaction
      .select({ preference_id: round_pairs.preference_id })
      .from(round_pairs)
      .where(inArray(round_pairs.round_id, roundIds));
  for (const roundIds of toChunks(onlyFrom)) {
    // A replayed pair was learned before: by an ancestor of both, or by another of these rounds.
    const unlearned = transaction
      .select({ preference_id: round_pairs.preference_id })
      .from(round_pairs)
      .innerJoin(preferences, and(eq(preferences.id, round_pairs.preference_id), isNull(preferences.erased_at)))
      .where(and(inArray(round_pairs.round_id, roundIds), eq(round_pairs.replay, false)));
    await transaction.insert(new_pairs).select(unlearned).onConflictDoNothing();
  }
  // Afterwards, because both may have learned the same pair.
  for (const roundIds of toChunks(onlyTo))
    await transaction.delete(new_pairs).where(inArray(new_pairs.preference_id, pairsOf(roundIds)));
}

/** A statement for each: one for a million pairs would run into statement_timeout. */
function toChunks(roundIds: string[]): string[][] {
  const count = Math.ceil(roundIds.length / ROUNDS_AT_ONCE);
  return Array.from({ length: count }, (_, at) => roundIds.slice(at * ROUNDS_AT_ONCE, (at + 1) * ROUNDS_AT_ONCE));
}
