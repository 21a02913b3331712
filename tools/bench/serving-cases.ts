// The cases of one model: prompts of each length, by so many concurrent streams.
import { AttuneError } from '../../shared/error.ts';
import type { Case } from './run-case.ts';

export type CaseOptions = { streams?: number[]; prompts?: number[]; tokens: number; quick?: boolean };

/** From this length on, one stream by default: sixteen would take an hour. */
const LONG_PROMPT = 1024;

/** A prompt that does not fit the context beside the generation is shortened to what does. */
export function listCases({ streams, prompts, tokens, quick }: CaseOptions, contextLength: number): Case[] {
  const longest = contextLength - tokens;
  if (longest < 1)
    throw new AttuneError(`--tokens: ${tokens} leave no room for a prompt in a context of ${contextLength}`);
  const streamsOf = (length: number) => streams ?? (quick ? [1, 16] : length < LONG_PROMPT ? [1, 4, 8, 16] : [1]);
  const cases = (prompts ?? (quick ? [32] : [32, 256, LONG_PROMPT])).flatMap((length) =>
    streamsOf(length).map((count) => ({ streams: count, promptLength: Math.min(length, longest), tokens })),
  );
  return [...new Map(cases.map((each) => [`${each.streams} × ${each.promptLength}`, each])).values()];
}
