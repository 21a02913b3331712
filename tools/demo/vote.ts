// Collecting: raters are shown two generations of a prompt and say which one they like, as people would do on a page.

import type { Client, Comparison } from './client.ts';
import type { Plan } from './plan.ts';
import { mapConcurrently } from './pool.ts';
import { seedRandom } from './random.ts';
import { type Choice, RATERS, vote } from './taste.ts';

export type Votes = { comparisons: number; strict: number; ties: number; seconds: number };

/** One comparison and one vote for each prompt; the raters take turns. */
export async function collectVotes(
  client: Client,
  prompts: string[],
  plan: Plan,
  seed: number,
  onVote: () => void,
): Promise<Votes> {
  const started = performance.now();
  const choices = await mapConcurrently(prompts, plan.concurrency, async (prompt, at): Promise<Choice> => {
    const comparison = await client.post<Comparison>('/v1/comparisons', {
      prompt,
      max_tokens: plan.maxTokens,
      temperature: plan.temperature,
      seed: seed + 2 * at,
    });
    const rater = RATERS[at % RATERS.length]!;
    const choice = vote(rater, comparison.a.text, comparison.b.text, seedRandom(seed + at));
    await client.post('/v1/preferences', { comparison: comparison.id, choice, rater: rater.name });
    onVote();
    return choice;
  });
  const ties = choices.filter((choice) => choice === 'tie').length;
  return {
    comparisons: choices.length,
    strict: choices.length - ties,
    ties,
    seconds: (performance.now() - started) / 1000,
  };
}
