// The pairs that a lineage has learned, read so that it takes no longer the more of them there are: of each round only
// their number, and only those that are chosen by their position in it.

import { and, count, eq, inArray, isNotNull, notExists, type SQL, sql } from 'drizzle-orm';
import type { Database } from '../../shared/database/connect.ts';
import { preferences, round_pairs } from '../../shared/database/schema.ts';
import { mulberry32, shuffle } from '../../shared/random.ts';
import { walkLineage } from '../../shared/rounds/lineage.ts';
import type { PreferenceRow } from './pairs.ts';
import { sampleReplay, spreadEvenly, thinOut } from './replay.ts';

export type Split = 'train' | 'held_out';
/** `learnedIn`: the round that learned it first. */
export type LearnedPair = { preference: PreferenceRow; learnedIn: string };

/** A pair of a round by its place among those that it was the first to learn, in the order of their ids. */
type Position = { round_id: string; at: number };

const LINEAGE_CHUNK = 5000;
const ROUNDS_AT_ONCE = 256;
const QUERY_ROWS = 1000;

/** The rounds that trained the policy and its ancestors, from the oldest to the newest. */
export async function findLearnedRounds(db: Database, policyId: string): Promise<string[]> {
  const rounds: string[] = [];
  for await (const { round_id } of walkLineage(db, policyId, LINEAGE_CHUNK))
    if (round_id !== null) rounds.push(round_id);
  return rounds.reverse();
}

/**
 * Learned pairs of any of the rounds: of as many of these, in random order, as have twice the number. `withLeftOut`: also those
 * that a share kept from being learned.
 */
export async function findReplay(
  db: Database,
  rounds: string[],
  split: Split,
  size: number,
  seed: number,
  { withLeftOut = false } = {},
): Promise<LearnedPair[]> {
  const positions: Position[][] = [];
  let found = 0;
  const order = shuffle(rounds, mulberry32(seed));
  for (let at = 0; at < order.length && found < 2 * size; at += ROUNDS_AT_ONCE) {
    const chunk = await listPositions(db, order.slice(at, at + ROUNDS_AT_ONCE), split, withLeftOut);
    positions.push(...chunk);
    found += chunk.reduce((sum, { length }) => sum + length, 0);
  }
  return readPositions(db, sampleReplay(positions, size, seed), split, withLeftOut);
}

/** Held-out pairs of earlier rounds, spread over them. */
export async function findEarlierHeldOut(db: Database, rounds: string[], size: number): Promise<LearnedPair[]> {
  const positions = await listPositions(db, thinOut(rounds), 'held_out');
  return readPositions(db, spreadEvenly(positions, size), 'held_out');
}

/** Stops counting at `limit`. */
export async function countLearnedUpTo(db: Database, rounds: string[], split: Split, limit: number): Promise<number> {
  let found = 0;
  // From the newest on: the last rounds have enough, as a rule.
  for (let end = rounds.length; end > 0 && found < limit; end -= ROUNDS_AT_ONCE) {
    const some = rounds.slice(Math.max(0, end - ROUNDS_AT_ONCE), end);
    const rows = db.select({ id: round_pairs.preference_id }).from(round_pairs);
    found += await db.$count(
      rows
        .where(isLearnedIn(db, some, split))
        .limit(limit - found)
        .as('counted'),
    );
  }
  return found;
}

export async function countLearnedPairs(db: Database, rounds: string[], { withLeftOut = false } = {}): Promise<number> {
  let total = 0;
  for (let at = 0; at < rounds.length; at += ROUNDS_AT_ONCE) {
    const isLearned = and(
      inArray(round_pairs.round_id, rounds.slice(at, at + ROUNDS_AT_ONCE)),
      eq(round_pairs.replay, false),
      withLeftOut ? undefined : eq(round_pairs.left_out, false),
      isKept(db),
    );
    total += await db.$count(round_pairs, isLearned);
  }
  return total;
}

/** By preference, the one of the rounds that learned it first. */
export async function findLearnedIn(db: Database, rounds: string[], ids: string[]): Promise<Map<string, string>> {
  const isOfLineage = new Set(rounds);
  const learnedIn = new Map<string, string>();
  for (let at = 0; at < ids.length; at += QUERY_ROWS) {
    const rows = await db
      .select({ id: round_pairs.preference_id, round_id: round_pairs.round_id })
      .from(round_pairs)
      .where(and(inArray(round_pairs.preference_id, ids.slice(at, at + QUERY_ROWS)), eq(round_pairs.replay, false)));
    for (const { id, round_id } of rows) if (isOfLineage.has(round_id)) learnedIn.set(id, round_id);
  }
  return learnedIn;
}

/** Not erased. Asked of the erased ones, which are few, so that no other preference is read. */
function isKept(db: Database) {
  const erased = and(eq(preferences.id, round_pairs.preference_id), isNotNull(preferences.erased_at));
  return notExists(db.select().from(preferences).where(erased));
}

/** Those that the rounds were the first to use, and did use. */
function isLearnedIn(db: Database, rounds: string[], split: Split, withLeftOut = false): SQL {
  return and(
    inArray(round_pairs.round_id, rounds),
    eq(round_pairs.split, split),
    eq(round_pairs.replay, false),
    withLeftOut ? undefined : eq(round_pairs.left_out, false),
    isKept(db),
  )!;
}

/** For each of the rounds that was the first to use such pairs, in order, where they are. */
async function listPositions(db: Database, rounds: string[], split: Split, withLeftOut = false): Promise<Position[][]> {
  if (rounds.length === 0) return [];
  const { round_id } = round_pairs;
  const rows = await db
    .select({ round_id, count: count() })
    .from(round_pairs)
    .where(isLearnedIn(db, rounds, split, withLeftOut))
    .groupBy(round_id);
  const counts = new Map(rows.map((row) => [row.round_id, row.count]));
  return rounds.flatMap((id) => {
    const length = counts.get(id);
    return length ? [Array.from({ length }, (_, at) => ({ round_id: id, at }))] : [];
  });
}

async function readPositions(
  db: Database,
  positions: Position[],
  split: Split,
  withLeftOut = false,
): Promise<LearnedPair[]> {
  const learned: LearnedPair[] = [];
  for (let at = 0; at < positions.length; at += QUERY_ROWS) {
    const chunk = positions.slice(at, at + QUERY_ROWS);
    const rounds = [...new Set(chunk.map(({ round_id }) => round_id))];
    const numbered = db
      .select({
        round_id: round_pairs.round_id,
        preference_id: round_pairs.preference_id,
        at: sql<number>`row_number() over (partition by ${round_pairs.round_id} order by ${round_pairs.preference_id}) - 1`.as(
          'at',
        ),
      })
      .from(round_pairs)
      .where(isLearnedIn(db, rounds, split, withLeftOut))
      .as('numbered');
    const wanted = sql`(${numbered.round_id}, ${numbered.at}) in (
      select round_id, "at" from json_to_recordset(${JSON.stringify(chunk)}::json) as wanted (round_id text, "at" bigint))`;
    const rows = await db
      .select({ preference: preferences, learnedIn: numbered.round_id })
      .from(numbered)
      .innerJoin(preferences, eq(preferences.id, numbered.preference_id))
      .where(wanted);
    learned.push(...rows);
  }
  return learned;
}
