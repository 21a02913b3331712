// The pairs of a round: new ones, a replay of learned ones, and held-out ones. Whether a pair is held out depends on a hash
// of its prompt alone, so that a prompt that was held out once is never trained on.

import { desc, eq } from 'drizzle-orm';
import type { Database } from '../../shared/database/connect.ts';
import { new_pairs, preferences, round_pairs } from '../../shared/database/schema.ts';
import { hashContent } from '../../shared/digest.ts';
import { AttuneError } from '../../shared/error.ts';
import { countNewPairs } from '../../shared/rounds/pairs.ts';
import type { Settings } from '../../shared/settings.ts';
import { getActivePolicyId } from '../../shared/store/registry.ts';
import { findEarlierHeldOut, findLearnedIn, findLearnedRounds, findReplay, type Split } from './learned-pairs.ts';
import { addSamples, isHeldOutPrompt, type PreferencePair, type PreferenceRow } from './pairs.ts';
import { spreadEvenly } from './replay.ts';

/** `learnedIn`: the round of an ancestor that learned it; null if it is new. */
export type RoundPair = PreferencePair & { split: Split; learnedIn: string | null };

type Selected = Pick<RoundPair, 'split' | 'learnedIn'> & { preference: PreferenceRow };

const MAX_HELD_OUT = 512;
/** Of earlier rounds. Otherwise there are no more of them than training pairs, so that they cost less than the training. */
const MIN_EARLIER_HELD_OUT = 128;
const QUERY_ROWS = 1000;

export type FoundPairs = {
  /** The active policy, which the round starts from. */
  parentId: string;
  pairs: RoundPair[];
  /** New pairs that were left for another round. */
  overLimit: number;
};

/**
 * The pairs of the next round: new ones, newest first up to TRAIN_MAX_PAIRS times the effort, then the replay. The same
 * seed gives the same pairs.
 */
export async function findPairs(
  db: Database,
  settings: Settings,
  { effort, seed }: { effort: number; seed: number },
): Promise<FoundPairs> {
  const maxPairs = Math.round(settings.TRAIN_MAX_PAIRS * effort);
  const getSplit = ({ prompt }: PreferenceRow): Split =>
    isHeldOutPrompt(prompt, settings.TRAIN_HELD_OUT) ? 'held_out' : 'train';
  const read = async (snapshot: Database) => {
    const parentId = await getActivePolicyId(snapshot);
    if (!parentId)
      throw new AttuneError('there is no active policy to start from; import one with `attune policies import`');
    const rounds = await findLearnedRounds(snapshot, parentId);
    const found = (await findNewPairs(snapshot, maxPairs)).map((preference): Selected => {
      return { preference, learnedIn: null, split: getSplit(preference) };
    });
    const train = found.filter(({ split }) => split === 'train');
    const heldOut = found.filter(({ split }) => split === 'held_out').slice(0, MAX_HELD_OUT);

    const replaySize = Math.min(Math.round(train.length * settings.TRAIN_REPLAY), maxPairs - train.length);
    const replay = await findReplay(snapshot, rounds, replaySize, toReplaySeed(parentId, seed));
    const affordable = Math.max(MIN_EARLIER_HELD_OUT, train.length + replay.length);
    const earlierSize = Math.min(affordable, MAX_HELD_OUT - heldOut.length);
    const earlier = await findEarlierHeldOut(snapshot, rounds, earlierSize);
    // TRAIN_HELD_OUT may have changed since: what was held out must not be trained on, nor be evaluated if it was.
    const ofSplit = (split: Split, learned: typeof replay) =>
      learned.filter(({ preference }) => getSplit(preference) === split).map((pair): Selected => ({ ...pair, split }));
    const selected = [...train, ...heldOut, ...ofSplit('train', replay), ...ofSplit('held_out', earlier)];
    const overLimit = (await countNewPairs(snapshot)) - train.length - heldOut.length;
    return { parentId, overLimit, pairs: await toRoundPairs(snapshot, selected) };
  };
  // One snapshot: which pairs are new depends on which policy is active.
  return db.transaction(read, { isolationLevel: 'repeatable read', accessMode: 'read only' });
}

/** Another replay after each round; the same one if a round from the same policy is repeated. */
function toReplaySeed(parentId: string, seed: number): number {
  return Number.parseInt(hashContent([parentId, seed]).slice(0, 8), 16);
}

/** The pairs that a resumed round has saved; empty if it was stopped before saving them. */
export async function findRoundPairs(db: Database, roundId: string, parentId: string): Promise<RoundPair[]> {
  const rows = await db
    .select({ preference: preferences, split: round_pairs.split })
    .from(round_pairs)
    .innerJoin(preferences, eq(preferences.id, round_pairs.preference_id))
    .where(eq(round_pairs.round_id, roundId));
  if (rows.length === 0) return [];
  const ids = rows.map(({ preference }) => preference.id);
  const learnedIn = await findLearnedIn(db, await findLearnedRounds(db, parentId), ids);
  return toRoundPairs(
    db,
    rows.map((row) => ({ ...row, learnedIn: learnedIn.get(row.preference.id) ?? null })),
  );
}

/**
 * Newest first, then the held-out pairs of earlier rounds in turns, so that any beginning of the held-out pairs is of use.
 * A resumed round gets the same order.
 */
async function toRoundPairs(db: Database, selected: Selected[]): Promise<RoundPair[]> {
  const samples = await addSamples(
    db,
    selected.map(({ preference }) => preference),
  );
  const pairs = samples
    .map((pair, at) => ({ ...pair, split: selected[at]!.split, learnedIn: selected[at]!.learnedIn }))
    .sort((a, b) => (a.id < b.id ? 1 : -1));
  const isEarlier = ({ split, learnedIn }: RoundPair) => split === 'held_out' && learnedIn !== null;
  const earlier = Map.groupBy(pairs.filter(isEarlier), ({ learnedIn }) => learnedIn);
  return [...pairs.filter((pair) => !isEarlier(pair)), ...spreadEvenly([...earlier.values()], pairs.length)];
}

/** Newest first. */
async function findNewPairs(db: Database, limit: number): Promise<PreferenceRow[]> {
  const rows = await db
    .select({ preference: preferences })
    .from(new_pairs)
    .innerJoin(preferences, eq(preferences.id, new_pairs.preference_id))
    .orderBy(desc(new_pairs.preference_id))
    .limit(limit);
  return rows.map(({ preference }) => preference);
}

export async function saveRoundPairs(db: Database, roundId: string, pairs: RoundPair[]): Promise<void> {
  const rows = pairs.map((pair) => ({
    round_id: roundId,
    preference_id: pair.id,
    split: pair.split,
    replay: pair.learnedIn !== null,
  }));
  await db.delete(round_pairs).where(eq(round_pairs.round_id, roundId));
  for (let at = 0; at < rows.length; at += QUERY_ROWS)
    await db.insert(round_pairs).values(rows.slice(at, at + QUERY_ROWS));
}
