// Collects preferences: simulated raters vote on comparisons through the API, as a web page would for people.

import pMap from 'p-map';
import { mulberry32 } from '../../shared/random.ts';
import type { Client, Comparison } from './client.ts';
import type { DemoConfig } from './config.ts';
import { type Choice, chooseText, RATERS } from './raters.ts';

export type Votes = { comparisons: number; strict: number; ties: number; seconds: number };

/** `isInverted`: raters choose what they like less. */
type VoteOptions = { onVote?: () => void; isInverted?: boolean };

const OPPOSITE = { a: 'b', b: 'a', tie: 'tie' } as const;

/** One comparison and one vote per prompt; the raters take turns. */
export async function collectVotes(
  client: Client,
  prompts: string[],
  config: DemoConfig,
  seed: number,
  { onVote, isInverted = false }: VoteOptions = {},
): Promise<Votes> {
  const started = performance.now();
  const vote = async (prompt: string, index: number): Promise<Choice> => {
    const comparison = await client.post<Comparison>('/v1/comparisons', {
      prompt,
      max_tokens: config.maxTokens,
      temperature: config.temperature,
      seed: seed + 2 * index,
    });
    const rater = RATERS[index % RATERS.length]!;
    const liked = chooseText(rater, comparison.a.text, comparison.b.text, mulberry32(seed + index));
    const choice = isInverted ? OPPOSITE[liked] : liked;
    await client.post('/v1/preferences', { comparison: comparison.id, choice, rater: rater.name });
    onVote?.();
    return choice;
  };
  const choices = await pMap(prompts, vote, { concurrency: config.concurrency });
  const ties = choices.filter((choice) => choice === 'tie').length;
  return {
    comparisons: choices.length,
    strict: choices.length - ties,
    ties,
    seconds: (performance.now() - started) / 1000,
  };
}
