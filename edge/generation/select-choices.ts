// The choices of a completion out of its candidates: all of them, or those that its ranker finds best.

import { z } from '@hono/zod-openapi';
import type { FinishEvent, ScoreWaiter, TokenEvent } from '../engine/inference.ts';
import { selectBest } from '../scoring/ranker.ts';
import type { PreparedCompletion } from './prepare.ts';
import { type GenerationRow, toGenerationRow } from './store.ts';

export type Candidate = { finish: FinishEvent; tokens: TokenEvent[] };

/** What a choice that a ranker selected has besides. Candidate i is what choice i would be without a ranker. */
export const rankingFields = {
  score: z.number().optional().openapi({ description: 'by the ranker; more is better' }),
  candidate: z.number().optional().openapi({ description: 'which of the best_of candidates this is' }),
};
export type Ranking = { score: number; candidate: number };

/** `rows`, `tokens` and `rankings` have one entry per choice; `rankings` is null without a ranker. */
export type CompletionResult = {
  completion: PreparedCompletion;
  rows: GenerationRow[];
  tokens: TokenEvent[][];
  rankings: Ranking[] | null;
  /** The tokens of all candidates, returned or not. */
  sampledTokens: number;
};

/** All candidates, or those of `rankings`. */
export function selectChoices(
  completion: PreparedCompletion,
  candidates: Candidate[],
  rankings: Ranking[] | null,
): CompletionResult {
  const choices = rankings ? rankings.map(({ candidate }) => candidates[candidate]!) : candidates;
  return {
    completion,
    rows: choices.map(({ finish }, choice) => toGenerationRow(completion, choice, finish)),
    tokens: choices.map(({ tokens }) => tokens),
    rankings,
    sampledTokens: countTokens(candidates),
  };
}

/** The best n candidates, the best first; null without a ranker. Interrupted ones are not ranked, so none is a choice. */
export async function rankCandidates(
  { ranker, promptIds, request }: PreparedCompletion,
  candidates: Candidate[],
  waiter: ScoreWaiter,
): Promise<Ranking[] | null> {
  if (!ranker) return null;
  if (candidates.some(({ finish }) => finish.finishReason === 'cancelled')) return [];
  const finishes = candidates.map(({ finish }) => finish);
  const scores = await ranker.score(promptIds, finishes, waiter);
  return selectBest(scores, request.n).map((candidate) => ({ score: scores[candidate]!, candidate }));
}

export function countTokens(candidates: Candidate[]): number {
  return candidates.reduce((sum, { tokens }) => sum + tokens.length, 0);
}
