// The pairs of a round: new ones, a replay of learned ones, and held-out ones. Whether a pair is held out depends on a hash
// of its prompt alone, so that a prompt that was held out once is never trained on.

import { and, desc, eq, inArray } from 'drizzle-orm';
import type { Prompt } from '../../shared/chat-message.ts';
import type { Database } from '../../shared/database/connect.ts';
import { type StoredGeneration, selectGenerations } from '../../shared/database/generations.ts';
import { generations, new_pairs, preferences, round_pairs } from '../../shared/database/schema.ts';
import { NEUTRAL_SAMPLING } from '../../shared/decoder/sampling.ts';
import { hashContent } from '../../shared/digest.ts';
import { AttuneError } from '../../shared/error.ts';
import { walkLineage } from '../../shared/rounds/lineage.ts';
import { countUsedPairs } from '../../shared/rounds/pairs.ts';
import type { Settings } from '../../shared/settings.ts';
import { getActivePolicyId } from '../../shared/store/registry.ts';

/** A strict preference with its samples. */
export type PreferencePair = {
  id: string;
  rater: string;
  prompt: Prompt;
  chosen: string;
  rejected: string;
  /** Both sides as policies sampled them; null if either is a text that no policy generated. */
  sampled: { promptIds: number[]; chosen: SampledResponse; rejected: SampledResponse } | null;
};
/** A response as a policy sampled it. */
export type SampledResponse = {
  policyId: string;
  /** With the end-of-text token if the policy sampled one: stopping is part of the sample. */
  responseIds: number[];
  /** The policy's log-probability of each token but the end-of-text; null if temperature, top_p, … changed them. */
  logps: number[] | null;
};
export type RoundPair = PreferencePair & { split: 'train' | 'held_out'; replay: boolean };

const MAX_HELD_OUT = 512;
const QUERY_ROWS = 1000;

type PreferenceRow = typeof preferences.$inferSelect;
type Selected = Pick<RoundPair, 'split' | 'replay'> & { preference: PreferenceRow };

/**
 * The pairs of the next round, and the active policy that it starts from: new pairs, newest first up to TRAIN_MAX_PAIRS
 * times the effort, then the replay.
 */
export async function findPairs(
  db: Database,
  settings: Settings,
  effort: number,
): Promise<{ parentId: string; pairs: RoundPair[] }> {
  const maxPairs = Math.round(settings.TRAIN_MAX_PAIRS * effort);
  const withSplit = (replay: boolean) => (preference: PreferenceRow) => ({
    preference,
    replay,
    split: isHeldOutPrompt(preference.prompt, settings.TRAIN_HELD_OUT) ? ('held_out' as const) : ('train' as const),
  });
  const read = async (snapshot: Database) => {
    const parentId = await getActivePolicyId(snapshot);
    if (!parentId)
      throw new AttuneError('there is no active policy to start from; import one with `attune policies import`');
    // Two queries, so that learned pairs never crowd out a backlog of new ones.
    const candidates = [
      ...(await findNewPairs(snapshot, maxPairs)).map(withSplit(false)),
      ...(await findLearnedPairs(snapshot, parentId, maxPairs + MAX_HELD_OUT)).map(withSplit(true)),
    ];
    const train = candidates.filter((pair) => pair.split === 'train');
    const newPairs = train.filter((pair) => !pair.replay).slice(0, maxPairs);
    const replayCount = Math.min(Math.round(newPairs.length * settings.TRAIN_REPLAY), maxPairs - newPairs.length);
    const replayed = train.filter((pair) => pair.replay).slice(0, replayCount);
    const heldOut = candidates.filter((pair) => pair.split === 'held_out').slice(0, MAX_HELD_OUT);
    return { parentId, pairs: await toRoundPairs(snapshot, [...newPairs, ...replayed, ...heldOut]) };
  };
  // One snapshot: which pairs are new depends on which policy is active.
  return db.transaction(read, { isolationLevel: 'repeatable read', accessMode: 'read only' });
}

/** The pairs that a resumed round has saved; empty if it was stopped before saving them. */
export async function findRoundPairs(db: Database, roundId: string): Promise<RoundPair[]> {
  const { split, replay } = round_pairs;
  const selected = await db
    .select({ preference: preferences, split, replay })
    .from(round_pairs)
    .innerJoin(preferences, eq(preferences.id, round_pairs.preference_id))
    .where(eq(round_pairs.round_id, roundId));
  return toRoundPairs(db, selected);
}

/** Descending by id, because a resumed round needs its pairs in the same order. */
async function toRoundPairs(db: Database, selected: Selected[]): Promise<RoundPair[]> {
  const pairs = await addSamples(
    db,
    selected.map(({ preference }) => preference),
  );
  return pairs
    .map((pair, at) => ({ ...pair, split: selected[at]!.split, replay: selected[at]!.replay }))
    .sort((a, b) => (a.id < b.id ? 1 : -1));
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

/** What the policy and its ancestors learned, newest first. Reads the rounds that the limit needs, and no older ones. */
async function findLearnedPairs(db: Database, policyId: string, limit: number): Promise<PreferenceRow[]> {
  const roundIds: string[] = [];
  let count = 0;
  for await (const { round_id } of walkLineage(db, policyId)) {
    if (count >= limit) break;
    if (round_id === null) continue;
    roundIds.push(round_id);
    count += await countUsedPairs(db, round_id);
  }
  const ids = db
    .select({ id: round_pairs.preference_id })
    .from(round_pairs)
    .where(and(inArray(round_pairs.round_id, roundIds), eq(round_pairs.replay, false)))
    .orderBy(desc(round_pairs.preference_id))
    .limit(limit)
    .as('ids');
  const rows = await db
    .select({ preference: preferences })
    .from(ids)
    .innerJoin(preferences, eq(preferences.id, ids.id))
    .orderBy(desc(ids.id));
  return rows.map(({ preference }) => preference);
}

async function addSamples(db: Database, rows: PreferenceRow[]): Promise<PreferencePair[]> {
  const ids = rows.flatMap((row) => [row.chosen_generation_id, row.rejected_generation_id].filter((id) => id !== null));
  const sampled = new Map<string, StoredGeneration>();
  for (let at = 0; at < ids.length; at += QUERY_ROWS) {
    const found = await selectGenerations(db).where(inArray(generations.id, ids.slice(at, at + QUERY_ROWS)));
    for (const row of found) sampled.set(row.id, row);
  }
  return rows.map((preference) => {
    const chosen = sampled.get(preference.chosen_generation_id ?? '');
    const rejected = sampled.get(preference.rejected_generation_id ?? '');
    return {
      id: preference.id,
      rater: preference.rater,
      prompt: preference.prompt,
      chosen: preference.chosen,
      rejected: preference.rejected,
      sampled:
        chosen && rejected
          ? {
              promptIds: chosen.prompt_token_ids,
              chosen: toSampledResponse(chosen),
              rejected: toSampledResponse(rejected),
            }
          : null,
    };
  });
}

function toSampledResponse(row: StoredGeneration): SampledResponse {
  return {
    policyId: row.policy_id,
    responseIds: row.stop_token === null ? row.token_ids : [...row.token_ids, row.stop_token],
    logps: isNeutralSampling(row.sampling) ? row.logps : null,
  };
}

/** Whether the tokens were sampled from the unmodified distribution, to which the stored log-probabilities belong. */
function isNeutralSampling(sampling: Record<string, unknown>): boolean {
  return Object.entries(NEUTRAL_SAMPLING).every(([name, neutral]) => {
    const value = sampling[name];
    return value === undefined || value === null || JSON.stringify(value) === JSON.stringify(neutral);
  });
}

/** Whether the pairs of this prompt are held out for evaluation. Does not depend on other prompts. */
export function isHeldOutPrompt(prompt: Prompt, fraction: number): boolean {
  const hash = hashContent(prompt);
  return Number.parseInt(hash.slice(0, 8), 16) / 2 ** 32 < fraction;
}

export async function saveRoundPairs(db: Database, roundId: string, pairs: RoundPair[]): Promise<void> {
  const rows = pairs.map((pair) => ({
    round_id: roundId,
    preference_id: pair.id,
    split: pair.split,
    replay: pair.replay,
  }));
  await db.delete(round_pairs).where(eq(round_pairs.round_id, roundId));
  for (let at = 0; at < rows.length; at += QUERY_ROWS)
    await db.insert(round_pairs).values(rows.slice(at, at + QUERY_ROWS));
}
