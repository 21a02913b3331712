// The examination: a policy and the reference continue the same prompts, which nobody has voted on, and the taste says
// whose continuation it likes better. Both sample as in the voting; neither sees the other's random numbers.

import { distinctPairs, type Interval, mean, wilson } from '../report/statistics.ts';
import type { Client, Completion } from './client.ts';
import type { Plan } from './plan.ts';
import { mapConcurrently } from './pool.ts';
import { scoreStory } from './taste.ts';

export type Stories = { policy: string; texts: string[]; tokens: number; seconds: number };

export type Contest = Interval & {
  wins: number;
  ties: number;
  losses: number;
  /** mean score by the taste */
  score: number;
  referenceScore: number;
  /** share of distinct word pairs within a text: whether the policy repeats itself more than the reference does */
  distinct: number;
  referenceDistinct: number;
};

/** One continuation of every prompt by one policy; nothing of it is stored. */
export async function writeStories(
  client: Client,
  policy: string,
  prompts: string[],
  plan: Plan,
  seed: number,
  onStory: () => void,
): Promise<Stories> {
  const started = performance.now();
  const answers = await mapConcurrently(prompts, 2 * plan.concurrency, async (prompt, at) => {
    const answer = await client.post<Completion>('/v1/completions', {
      model: policy,
      prompt,
      max_tokens: plan.maxTokens,
      temperature: plan.temperature,
      seed: seed + at,
      store: false,
    });
    if (answer.model !== policy)
      throw new Error(`internal: ${policy} was asked to write and ${answer.model} answered; the comparison is void`);
    onStory();
    return answer;
  });
  return {
    policy,
    texts: answers.map((answer) => answer.choices[0]!.text),
    tokens: answers.reduce((sum, answer) => sum + answer.usage.completion_tokens, 0),
    seconds: (performance.now() - started) / 1000,
  };
}

/** Prompt by prompt; a tie is half a win. */
export function judgeStories(texts: string[], referenceTexts: string[]): Contest {
  const scores = texts.map(scoreStory);
  const referenceScores = referenceTexts.map(scoreStory);
  const differences = scores.map((score, at) => score - referenceScores[at]!);
  const wins = differences.filter((difference) => difference > 0).length;
  const ties = differences.filter((difference) => difference === 0).length;
  return {
    ...wilson(wins + ties / 2, texts.length),
    wins,
    ties,
    losses: texts.length - wins - ties,
    score: mean(scores),
    referenceScore: mean(referenceScores),
    distinct: distinctPairs(texts),
    referenceDistinct: distinctPairs(referenceTexts),
  };
}
