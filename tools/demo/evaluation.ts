// Win rate of a policy against the reference: both continue the same prompts, which no rater has voted on, and the
// scoring rule of the raters picks the winner. Both sample with the settings of the comparisons, from different seeds.

import pMap from 'p-map';
import { distinctBigrams, mean, type Proportion, wilsonInterval } from '../report/statistics.ts';
import type { Client, Completion } from './client.ts';
import type { DemoConfig } from './config.ts';
import { scoreText } from './raters.ts';

export type Continuations = { policy: string; texts: string[]; tokens: number; seconds: number };

export type WinRate = Proportion & {
  wins: number;
  ties: number;
  losses: number;
  /** mean score by the raters' rule */
  score: number;
  referenceScore: number;
  /** distinct-2 within each text: lower than the reference's when the policy repeats itself more */
  distinct: number;
  referenceDistinct: number;
};

/** One continuation of every prompt by one policy, none of them stored. */
export async function generateContinuations(
  client: Client,
  policy: string,
  prompts: string[],
  config: DemoConfig,
  seed: number,
  onText: () => void,
): Promise<Continuations> {
  const started = performance.now();
  const complete = async (prompt: string, index: number) => {
    const completion = await client.post<Completion>('/v1/completions', {
      model: policy,
      prompt,
      max_tokens: config.maxTokens,
      temperature: config.temperature,
      seed: seed + index,
      store: false,
    });
    if (completion.model !== policy)
      throw new Error(`internal: requested a completion of ${policy} and got one of ${completion.model}`);
    onText();
    return completion;
  };
  const completions = await pMap(prompts, complete, { concurrency: 2 * config.concurrency });
  return {
    policy,
    texts: completions.map((completion) => completion.choices[0]!.text),
    tokens: completions.reduce((total, completion) => total + completion.usage.completion_tokens, 0),
    seconds: (performance.now() - started) / 1000,
  };
}

/** Compares texts prompt by prompt; a tie counts as half a win. */
export function compareTexts(texts: string[], referenceTexts: string[]): WinRate {
  const scores = texts.map(scoreText);
  const referenceScores = referenceTexts.map(scoreText);
  const differences = scores.map((score, at) => score - referenceScores[at]!);
  const wins = differences.filter((difference) => difference > 0).length;
  const ties = differences.filter((difference) => difference === 0).length;
  return {
    ...wilsonInterval(wins + ties / 2, texts.length),
    wins,
    ties,
    losses: texts.length - wins - ties,
    score: mean(scores),
    referenceScore: mean(referenceScores),
    distinct: distinctBigrams(texts),
    referenceDistinct: distinctBigrams(referenceTexts),
  };
}
