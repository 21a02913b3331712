// Which pairs a round learns from: those no finished round has used, a replay of older ones, and the held-out ones.
// Held-out is decided by a hash of the prompt alone, so a prompt that was ever held out is never trained on.

import { and, desc, eq, inArray } from 'drizzle-orm';
import type { Prompt } from '../../shared/chat-message.ts';
import type { Database } from '../../shared/database/connect.ts';
import { generations, preferences, round_pairs } from '../../shared/database/schema.ts';
import { NEUTRAL_SAMPLING } from '../../shared/decoder/sampling.ts';
import { hashContent } from '../../shared/digest.ts';
import { isNewPair, isStrictPreference, isUsedPair } from '../../shared/rounds/pairs.ts';
import type { Settings } from '../../shared/settings.ts';

/** A preference with what its two sides are made of. */
export type Candidate = {
  id: string;
  prompt: Prompt;
  chosen: string;
  rejected: string;
  /** the sides as they were sampled, where a policy of ours did */
  sampled: { promptIds: number[]; chosen: Sampled; rejected: Sampled } | null;
};
/** A response as a policy drew it. */
export type Sampled = {
  policyId: string;
  /** With the end-of-text token where the policy drew one: stopping there was its choice too. */
  responseIds: number[];
  /** The sampler's log-probability of each token but that last one; null where it drew from a changed distribution. */
  logps: number[] | null;
};
export type Selected = Candidate & { split: 'train' | 'held_out'; replay: boolean };

const HELD_OUT_MOST = 512;

/**
 * The pairs of the next round. Newest first up to TRAIN_MAX_PAIRS times the effort, then replay as a share of the new
 * ones.
 */
export async function selectPairs(db: Database, settings: Settings, effort: number): Promise<Selected[]> {
  const most = Math.round(settings.TRAIN_MAX_PAIRS * effort);
  const split = await Promise.all(
    (await findCandidates(db, most)).map(async (candidate) => ({
      ...candidate,
      split: (await isHeldOut(candidate.prompt, settings.TRAIN_HELD_OUT)) ? ('held_out' as const) : ('train' as const),
    })),
  );
  const train = split.filter((pair) => pair.split === 'train');
  const fresh = train.filter((pair) => !pair.replay).slice(0, most);
  const room = Math.min(Math.round(fresh.length * settings.TRAIN_REPLAY), most - fresh.length);
  const replayed = train.filter((pair) => pair.replay).slice(0, room);
  const heldOut = split.filter((pair) => pair.split === 'held_out').slice(0, HELD_OUT_MOST);
  return [...fresh, ...replayed, ...heldOut].sort(byId);
}

/** The pairs that a round has taken before its trainer was stopped; none where it had not come so far. */
export async function pairsOfRound(db: Database, roundId: string): Promise<Selected[]> {
  const rows = await db
    .select()
    .from(round_pairs)
    .innerJoin(preferences, eq(preferences.id, round_pairs.preference_id))
    .where(eq(round_pairs.round_id, roundId));
  const candidates = await addSamples(
    db,
    rows.map((row) => row.preferences),
  );
  return candidates
    .map((candidate, at) => ({
      ...candidate,
      split: rows[at]!.round_pairs.split,
      replay: rows[at]!.round_pairs.replay,
    }))
    .sort(byId);
}

/** A round that is taken up again must see its pairs in the same order. */
function byId(a: Selected, b: Selected): number {
  return a.id < b.id ? 1 : -1;
}

async function findCandidates(db: Database, most: number): Promise<(Candidate & { replay: boolean })[]> {
  const select = (used: boolean, limit: number) =>
    db
      .select()
      .from(preferences)
      .where(used ? and(isStrictPreference, isUsedPair) : isNewPair)
      .orderBy(desc(preferences.id))
      .limit(limit);
  // Apart, so that a backlog is worked through however many pairs were used before it.
  const fresh = await addSamples(db, await select(false, most));
  const used = await addSamples(db, await select(true, most + HELD_OUT_MOST));
  return [
    ...fresh.map((candidate) => ({ ...candidate, replay: false })),
    ...used.map((candidate) => ({ ...candidate, replay: true })),
  ];
}

async function addSamples(db: Database, rows: (typeof preferences.$inferSelect)[]): Promise<Candidate[]> {
  const ids = rows.flatMap((row) => [row.chosen_generation_id, row.rejected_generation_id].filter((id) => id !== null));
  const sampled = new Map<string, typeof generations.$inferSelect>();
  for (let at = 0; at < ids.length; at += 1000) {
    const found = await db
      .select()
      .from(generations)
      .where(inArray(generations.id, ids.slice(at, at + 1000)));
    for (const row of found) sampled.set(row.id, row);
  }
  return rows.map((preference) => {
    const chosen = sampled.get(preference.chosen_generation_id ?? '');
    const rejected = sampled.get(preference.rejected_generation_id ?? '');
    return {
      id: preference.id,
      prompt: preference.prompt,
      chosen: preference.chosen,
      rejected: preference.rejected,
      sampled:
        chosen && rejected
          ? { promptIds: chosen.prompt_token_ids, chosen: toSampled(chosen), rejected: toSampled(rejected) }
          : null,
    };
  });
}

function toSampled(row: typeof generations.$inferSelect): Sampled {
  return {
    policyId: row.policy_id,
    responseIds: row.stop_token === null ? row.token_ids : [...row.token_ids, row.stop_token],
    logps: isPlain(row.sampling) ? row.logps : null,
  };
}

/** Whether the policy's own distribution was drawn from: the log-probabilities that are kept are of that one. */
function isPlain(sampling: Record<string, unknown>): boolean {
  return Object.entries(NEUTRAL_SAMPLING).every(([name, neutral]) => {
    const value = sampling[name];
    return value === undefined || value === null || JSON.stringify(value) === JSON.stringify(neutral);
  });
}

/** Whether this prompt's pairs are only evaluated on; the same for ever, whatever else there is. */
export async function isHeldOut(prompt: Prompt, share: number): Promise<boolean> {
  const hash = await hashContent(prompt);
  return Number.parseInt(hash.slice(0, 8), 16) / 2 ** 32 < share;
}

/** Records what a round uses, in one statement per thousand. */
export async function recordPairs(db: Database, roundId: string, pairs: Selected[]): Promise<void> {
  const rows = pairs.map((pair) => ({
    round_id: roundId,
    preference_id: pair.id,
    split: pair.split,
    replay: pair.replay,
  }));
  await db.delete(round_pairs).where(eq(round_pairs.round_id, roundId));
  for (let at = 0; at < rows.length; at += 1000) await db.insert(round_pairs).values(rows.slice(at, at + 1000));
}
