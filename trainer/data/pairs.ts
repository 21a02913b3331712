// A pair as the trainer reads it: a strict preference with its samples.

import { inArray } from 'drizzle-orm';
import type { Prompt } from '../../shared/chat-message.ts';
import type { Database } from '../../shared/database/connect.ts';
import { isSteered, type StoredGeneration, selectGenerations } from '../../shared/database/generations.ts';
import { generations, type preferences } from '../../shared/database/schema.ts';
import { NEUTRAL_SAMPLING } from '../../shared/decoder/sampling.ts';
import { hashContentWith } from '../../shared/digest.ts';

/** A strict preference with its samples. */
export type PreferencePair = {
  id: string;
  rater: string;
  prompt: Prompt;
  chosen: string;
  rejected: string;
  /** Both sides as policies sampled them; null if either is a text that no policy generated, or was redacted. */
  sampled: { promptIds: number[]; chosen: SampledResponse; rejected: SampledResponse } | null;
  /** Whether a request decided what a side says (shared/database/generations.ts). */
  isSteered: boolean;
};
/** A response as a policy sampled it. */
export type SampledResponse = {
  policyId: string;
  /** With the end-of-text token if the policy sampled one: stopping is part of the sample. */
  responseIds: number[];
  /** The policy's log-probability of each token but the end-of-text; null if temperature, top_p, … changed them. */
  logps: number[] | null;
};
export type PreferenceRow = typeof preferences.$inferSelect;

const QUERY_ROWS = 1000;

/** Adds the samples, in the order of the rows. */
export async function addSamples(db: Database, rows: PreferenceRow[]): Promise<PreferencePair[]> {
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
        hasTokens(chosen) && hasTokens(rejected)
          ? {
              promptIds: chosen.prompt_token_ids,
              chosen: toSampledResponse(chosen),
              rejected: toSampledResponse(rejected),
            }
          : null,
      isSteered: [chosen, rejected].some((side) => side !== undefined && isSteered(side)),
    };
  });
}

/** What was redacted and what no policy generated is stored as text only. */
function hasTokens(row: StoredGeneration | undefined): row is StoredGeneration {
  return row !== undefined && row.kind !== 'given' && !row.redacted;
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
  // Selected by a ranker out of several samples, or restricted to JSON.
  if (sampling.best_of !== undefined || sampling.response_format !== undefined) return false;
  return Object.entries(NEUTRAL_SAMPLING).every(([name, neutral]) => {
    const value = sampling[name];
    return value === undefined || value === null || JSON.stringify(value) === JSON.stringify(neutral);
  });
}

/**
 * Whether the pairs of this prompt are held out for evaluation. Does not depend on other prompts. `secret`: of the database, so
 * that nobody can write prompts that are evaluated, or that are not.
 */
export function isHeldOutPrompt(prompt: Prompt, fraction: number, secret: string): boolean {
  const hash = hashContentWith(secret, prompt);
  return Number.parseInt(hash.slice(0, 8), 16) / 2 ** 32 < fraction;
}
