// The pairs of a round: new ones, a replay of learned ones or all of them, and held-out ones. Whether a pair is held out depends on a hash
// of its prompt alone, so that a prompt that was held out once is never trained on.

import { and, desc, eq, isNull } from 'drizzle-orm';
import type { Database } from '../../shared/database/connect.ts';
import { new_pairs, preferences, round_pairs } from '../../shared/database/schema.ts';
import { hashContent } from '../../shared/digest.ts';
import { AttuneError } from '../../shared/error.ts';
import { countNewPairs } from '../../shared/rounds/pairs.ts';
import type { Settings } from '../../shared/settings.ts';
import { getActivePolicyId } from '../../shared/store/registry.ts';
import { MAX_HELD_OUT } from '../evaluation/gate-power.ts';
import {
  countLearnedPairs,
  findEarlierHeldOut,
  findLearnedIn,
  findLearnedRounds,
  findReplay,
  type Split,
} from './learned-pairs.ts';
import { addSamples, isHeldOutPrompt, type PreferencePair, type PreferenceRow } from './pairs.ts';
import { spreadEvenly, thinOut } from './replay.ts';

/** `learnedIn`: the round of an ancestor that learned it; null if it is new. `xid`: of its row, which a changed vote replaces. */
export type RoundPair = PreferencePair & { xid: string; split: Split; learnedIn: string | null };

type Selected = Pick<RoundPair, 'split' | 'learnedIn'> & { preference: PreferenceRow };

/** Of earlier rounds. Otherwise there are no more of them than training pairs, so that they cost less than the training. */
const MIN_EARLIER_HELD_OUT = 128;
const QUERY_ROWS = 1000;

export type FoundPairs = {
  baselineId: string;
  pairs: RoundPair[];
  /** Pairs that were left for another round. */
  overLimit: number;
};

/**
 * The pairs of the next round, and the active policy, which it has to replace: new pairs, newest first up to
 * TRAIN_MAX_PAIRS times the effort, then the replay; with `takesAll` everything that was learned, as far as there is
 * room. The same seed gives the same pairs.
 */
export async function findPairs(
  db: Database,
  settings: Settings,
  { effort, seed }: { effort: number; seed: number },
  takesAll = false,
): Promise<FoundPairs> {
  const maxPairs = Math.round(settings.TRAIN_MAX_PAIRS * effort);
  const getSplit = ({ prompt }: PreferenceRow): Split =>
    isHeldOutPrompt(prompt, settings.TRAIN_HELD_OUT) ? 'held_out' : 'train';
  const read = async (snapshot: Database) => {
    const baselineId = await getActivePolicyId(snapshot);
    if (!baselineId)
      throw new AttuneError('there is no active policy to start from; import one with `attune policies import`');
    const rounds = await findLearnedRounds(snapshot, baselineId);
    const found = (await findNewPairs(snapshot, maxPairs)).map((preference): Selected => {
      return { preference, learnedIn: null, split: getSplit(preference) };
    });
    const train = found.filter(({ split }) => split === 'train');
    const heldOut = found.filter(({ split }) => split === 'held_out');

    const room = maxPairs - train.length;
    const replaySize = takesAll ? room : Math.min(Math.round(train.length * settings.TRAIN_REPLAY), room);
    const replay = await findReplay(snapshot, rounds, 'train', replaySize, toReplaySeed(baselineId, seed));
    // As with new ones all of them, although not all are evaluated: what its round has not used is new for the policy.
    const earlier = takesAll
      ? await findReplay(snapshot, rounds, 'held_out', maxPairs, seed)
      : await findEarlierHeldOut(snapshot, rounds, limitEarlier(train.length + replay.length, heldOut.length));
    // TRAIN_HELD_OUT may have changed since: what was held out must not be trained on, nor be evaluated if it was.
    const ofSplit = (split: Split, learned: typeof replay) =>
      learned.filter(({ preference }) => getSplit(preference) === split).map((pair): Selected => ({ ...pair, split }));
    const selected = [...train, ...heldOut, ...ofSplit('train', replay), ...ofSplit('held_out', earlier)];
    const isNew = ({ learnedIn }: Selected) => learnedIn === null;
    const overLimit = takesAll
      ? (await countNewPairs(snapshot)) + (await countLearnedPairs(snapshot, rounds)) - selected.length
      : (await countNewPairs(snapshot)) - selected.filter(isNew).length;
    return { baselineId, overLimit, pairs: await toRoundPairs(snapshot, selected) };
  };
  // One snapshot: which pairs are new depends on which policy is active.
  return db.transaction(read, { isolationLevel: 'repeatable read', accessMode: 'read only' });
}

/** How many held-out pairs of earlier rounds are evaluated beside the new ones. */
function limitEarlier(train: number, heldOut: number): number {
  return Math.max(0, Math.min(Math.max(MIN_EARLIER_HELD_OUT, train), MAX_HELD_OUT - heldOut));
}

/**
 * The pairs to train on, and the held-out ones to evaluate: the newest new ones, then those of earlier rounds in turns, so
 * that any beginning of them is of use.
 */
export function limitHeldOut(pairs: RoundPair[]): RoundPair[] {
  const train = pairs.filter(({ split }) => split === 'train');
  const heldOut = pairs.filter(({ split }) => split === 'held_out');
  const fresh = heldOut.filter(({ learnedIn }) => learnedIn === null).slice(0, MAX_HELD_OUT);
  const isEarlier = ({ learnedIn }: RoundPair) => learnedIn !== null;
  const byRound = Map.groupBy(heldOut.filter(isEarlier), ({ learnedIn }) => learnedIn!);
  // In the order in which findEarlierHeldOut chooses, so that a round on everything evaluates the same ones.
  const oldestFirst = (earlier: RoundPair[]) => earlier.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const rounds = [...byRound].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, earlier]) => oldestFirst(earlier));
  return [...train, ...fresh, ...spreadEvenly(thinOut(rounds), limitEarlier(train.length, fresh.length))];
}

/** Another replay after each round; the same one if a round is repeated while the same policy is active. */
function toReplaySeed(baselineId: string, seed: number): number {
  return Number.parseInt(hashContent([baselineId, seed]).slice(0, 8), 16);
}

/** The pairs that a resumed round has saved; empty if it was stopped before saving them. */
export async function findRoundPairs(db: Database, roundId: string, baselineId: string): Promise<RoundPair[]> {
  const rows = await db
    .select({ preference: preferences, split: round_pairs.split })
    .from(round_pairs)
    .innerJoin(preferences, eq(preferences.id, round_pairs.preference_id))
    .where(and(eq(round_pairs.round_id, roundId), isNull(preferences.erased_at)));
  if (rows.length === 0) return [];
  const ids = rows.map(({ preference }) => preference.id);
  const learnedIn = await findLearnedIn(db, await findLearnedRounds(db, baselineId), ids);
  return toRoundPairs(
    db,
    rows.map((row) => ({ ...row, learnedIn: learnedIn.get(row.preference.id) ?? null })),
  );
}

/** Newest first, because a resumed round needs its pairs in the same order. */
async function toRoundPairs(db: Database, selected: Selected[]): Promise<RoundPair[]> {
  const pairs = await addSamples(
    db,
    selected.map(({ preference }) => preference),
  );
  return pairs
    .map((pair, at) => {
      const { split, learnedIn, preference } = selected[at]!;
      return { ...pair, xid: preference.xid, split, learnedIn };
    })
    .sort((a, b) => (a.id < b.id ? 1 : -1));
}

/** Newest first. */
async function findNewPairs(db: Database, limit: number): Promise<PreferenceRow[]> {
  const rows = await db
    .select({ preference: preferences })
    .from(new_pairs)
    .innerJoin(preferences, eq(preferences.id, new_pairs.preference_id))
    .where(isNull(preferences.erased_at))
    .orderBy(desc(new_pairs.preference_id))
    .limit(limit);
  return rows.map(({ preference }) => preference);
}

/** To the root every pair is new, so a round from the root has learned all of its pairs itself. */
export async function saveRoundPairs(
  db: Database,
  { id, from_root }: { id: string; from_root: boolean },
  pairs: RoundPair[],
): Promise<void> {
  const rows = pairs.map((pair) => ({
    round_id: id,
    preference_id: pair.id,
    split: pair.split,
    replay: pair.learnedIn !== null && !from_root,
  }));
  await db.delete(round_pairs).where(eq(round_pairs.round_id, id));
  for (let at = 0; at < rows.length; at += QUERY_ROWS)
    await db.insert(round_pairs).values(rows.slice(at, at + QUERY_ROWS));
}
