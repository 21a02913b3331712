// Which preferences are new: the schedule counts them, the trainer selects them, and the API reports how many there are.

import { and, inArray, ne, not, sql } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { preferences, round_pairs, rounds } from '../database/schema.ts';

/** A choice of one side, between two different responses. */
export const isStrictPreference = and(
  inArray(preferences.choice, ['a', 'b']),
  ne(preferences.chosen, preferences.rejected),
)!;

/** Used by a round that succeeded. The pairs of a failed round are still new. */
export const isUsedPair = sql`exists (
  select 1 from ${round_pairs} join ${rounds} on ${rounds.id} = ${round_pairs.round_id}
  where ${round_pairs.preference_id} = ${preferences.id} and ${rounds.status} = 'succeeded')`;

export const isNewPair = and(isStrictPreference, not(isUsedPair))!;

/** Held-out pairs included. */
export function countNewPairs(db: Database): Promise<number> {
  return db.$count(preferences, isNewPair);
}
