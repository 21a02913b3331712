// The pairs of a round: new ones, a replay of learned ones or all of them, and held-out ones. Whether a pair is held out depends
// on a keyed hash of its prompt alone, so that a prompt that was held out once is never trained on.

import { and, asc, desc, eq, isNull, sql } from 'drizzle-orm';
import { readSecret } from '../../shared/access/secrets.ts';
import type { Database } from '../../shared/database/connect.ts';
import { new_pairs, preferences, round_pairs } from '../../shared/database/schema.ts';
import { hashContent } from '../../shared/digest.ts';
import { AttuneError } from '../../shared/error.ts';
import { countNewPairs } from '../../shared/rounds/pairs.ts';
import type { Settings } from '../../shared/settings.ts';
import { getActivePolicyId } from '../../shared/store/registry.ts';
import {
  countLearnedPairs,
  countLearnedUpTo,
  findEarlierHeldOut,
  findLearnedIn,
  findLearnedRounds,
  findReplay,
  type Split,
} from './learned-pairs.ts';
import type { Origin } from './pair-shares.ts';
import { addSamples, isHeldOutPrompt, type PreferencePair, type PreferenceRow } from './pairs.ts';
import { limitEarlier } from './replay.ts';

/** `learnedIn`: the round of an ancestor that learned it; null if it is new. `xid`: of its row, which a changed vote replaces. */
export type RoundPair = PreferencePair & Origin & { xid: string; split: Split; learnedIn: string | null };

type Selected = Pick<RoundPair, 'split' | 'learnedIn'> & { preference: PreferenceRow };

const QUERY_ROWS = 1000;

export type FoundPairs = {
  baselineId: string;
  pairs: RoundPair[];
  /** Pairs that were left for another round. */
  overLimit: number;
};

/**
 * The pairs of the next round, and the active policy, which it has to replace: new pairs, keys and raters in turns, up to
 * TRAIN_MAX_PAIRS times the effort, then the replay; with `takesAll` everything that was learned, as far as there is
 * room. New pairs leave the learned ones their part of the room: otherwise a flood of them would be all of the round. The same
 * seed gives the same pairs.
 */
export async function findPairs(
  db: Database,
  settings: Settings,
  { effort, seed }: { effort: number; seed: number },
  takesAll = false,
): Promise<FoundPairs> {
  const maxPairs = Math.round(settings.TRAIN_MAX_PAIRS * effort);
  const { value: secret } = await readSecret(db, 'held_out');
  const getSplit = ({ prompt }: PreferenceRow): Split =>
    isHeldOutPrompt(prompt, settings.TRAIN_HELD_OUT, secret) ? 'held_out' : 'train';
  const read = async (snapshot: Database) => {
    const baselineId = await getActivePolicyId(snapshot);
    if (!baselineId)
      throw new AttuneError('there is no active policy to start from; import one with `attune policies import`');
    const rounds = await findLearnedRounds(snapshot, baselineId);
    const found = (await findNewPairs(snapshot, maxPairs)).map((preference): Selected => {
      return { preference, learnedIn: null, split: getSplit(preference) };
    });
    const learnedShare = takesAll ? 1 / 2 : settings.TRAIN_REPLAY / (1 + settings.TRAIN_REPLAY);
    const kept = await countLearnedUpTo(snapshot, rounds, 'train', Math.round(maxPairs * learnedShare));
    const train = found.filter(({ split }) => split === 'train').slice(0, maxPairs - kept);
    const heldOut = found.filter(({ split }) => split === 'held_out');

    const room = maxPairs - train.length;
    const replaySize = takesAll ? room : Math.min(Math.round(train.length * settings.TRAIN_REPLAY), room);
    // What a share left out is not lost: once nothing is limited, a round on everything takes it.
    const isUnlimited = settings.TRAIN_RATER_SHARE === 1 || settings.TRAIN_SOURCE_SHARE === 1;
    const withLeftOut = takesAll && isUnlimited;
    const replaySeed = toReplaySeed(baselineId, seed);
    const replay = await findReplay(snapshot, rounds, 'train', replaySize, replaySeed, { withLeftOut });
    // As with new ones all of them, although not all are evaluated: what its round has not used is new for the policy.
    const earlier = takesAll
      ? await findReplay(snapshot, rounds, 'held_out', maxPairs, seed, { withLeftOut })
      : await findEarlierHeldOut(snapshot, rounds, limitEarlier(train.length + replay.length, heldOut.length));
    // TRAIN_HELD_OUT may have changed since: what was held out must not be trained on, nor be evaluated if it was.
    const ofSplit = (split: Split, learned: typeof replay) =>
      learned.filter(({ preference }) => getSplit(preference) === split).map((pair): Selected => ({ ...pair, split }));
    const selected = [...train, ...heldOut, ...ofSplit('train', replay), ...ofSplit('held_out', earlier)];
    const isNew = ({ learnedIn }: Selected) => learnedIn === null;
    const overLimit = takesAll
      ? (await countNewPairs(snapshot)) + (await countLearnedPairs(snapshot, rounds, { withLeftOut })) - selected.length
      : (await countNewPairs(snapshot)) - selected.filter(isNew).length;
    return { baselineId, overLimit, pairs: await toRoundPairs(snapshot, selected) };
  };
  // One snapshot: which pairs are new depends on which policy is active.
  return db.transaction(read, { isolationLevel: 'repeatable read', accessMode: 'read only' });
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
      const { tenant, source, created_by, xid } = preference;
      return { ...pair, tenant, source, created_by, xid, split, learnedIn };
    })
    .sort((a, b) => (a.id < b.id ? 1 : -1));
}

/** In turns over the keys that stored them, and over the raters of each key; of each rater the newest first. */
async function findNewPairs(db: Database, limit: number): Promise<PreferenceRow[]> {
  const { id, tenant, rater, created_by } = preferences;
  const ofRater = db
    .select({
      id,
      tenant,
      created_by,
      turn: sql`row_number() over (partition by ${tenant}, ${rater} order by ${id} desc)`.as('turn'),
    })
    .from(new_pairs)
    .innerJoin(preferences, eq(id, new_pairs.preference_id))
    .where(isNull(preferences.erased_at))
    .as('of_rater');
  const turn = sql<number>`row_number() over (
    partition by ${ofRater.tenant}, ${ofRater.created_by} order by ${ofRater.turn}, ${ofRater.id} desc)`;
  const ofKey = db
    .select({ id: ofRater.id, turn: turn.as('key_turn') })
    .from(ofRater)
    .as('of_key');
  const chosen = db.select().from(ofKey).orderBy(asc(ofKey.turn), desc(ofKey.id)).limit(limit).as('chosen');
  const rows = await db
    .select({ preference: preferences })
    .from(chosen)
    .innerJoin(preferences, eq(id, chosen.id))
    .orderBy(asc(chosen.turn), desc(chosen.id));
  return rows.map(({ preference }) => preference);
}

/** `leftOut`: those that it neither trains on nor evaluates. To the root every pair is new, so a round from the root has learned all of its pairs itself. */
export async function saveRoundPairs(
  db: Database,
  { id, from_root }: { id: string; from_root: boolean },
  pairs: RoundPair[],
  leftOut: ReadonlySet<string> = new Set(),
): Promise<void> {
  const rows = pairs.map((pair) => ({
    round_id: id,
    preference_id: pair.id,
    split: pair.split,
    replay: pair.learnedIn !== null && !from_root,
    left_out: leftOut.has(pair.id),
  }));
  await db.delete(round_pairs).where(eq(round_pairs.round_id, id));
  for (let at = 0; at < rows.length; at += QUERY_ROWS)
    await db.insert(round_pairs).values(rows.slice(at, at + QUERY_ROWS));
}
