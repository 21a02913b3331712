// Log-probabilities of given responses under a policy: queued, admitted and cancelled like generations, and computed like
// prompts.

import { NEUTRAL_SAMPLING } from '../../shared/decoder/sampling.ts';
import type { GenerationEvent, LoadedPolicy, ScoreWaiter } from '../engine/inference.ts';
import { cancelled } from '../http/deadline.ts';

/** A prompt and a response in tokens. */
export type TokenPair = { promptIds: number[]; responseIds: number[]; sharedLengths?: number[] };

/** Hears of each response when its computing begins, and when its log-probabilities are known. */
export type ScoreListener = { onStart?(): void; onScored?(index: number): void };

/** Returns the log-probability of every token of each response. Abort the signal if it throws: others may still run. */
export async function scoreResponses(
  policy: LoadedPolicy,
  pairs: TokenPair[],
  { tenant = '', signal, isAdmitted }: ScoreWaiter,
  { onStart, onScored }: ScoreListener = {},
): Promise<number[][]> {
  const generations = pairs.map(({ promptIds, responseIds, sharedLengths = [] }, submitted) => {
    const sampling = { ...NEUTRAL_SAMPLING, maxTokens: responseIds.length, seed: 0, stop: [], topLogprobs: 0 };
    const input = { promptIds, sharedLengths, response: responseIds, sampling, n: 1, tenant, submitted };
    return policy.generate({ ...input, isAdmitted, onStart }, signal);
  });
  return Promise.all(
    generations.map(async (events, index) => {
      const logprobs = await collectLogprobs(events);
      onScored?.(index);
      return logprobs;
    }),
  );
}

async function collectLogprobs(events: AsyncIterable<GenerationEvent>): Promise<number[]> {
  for await (const event of events) {
    if (event.type !== 'finish') continue;
    if (event.finishReason === 'cancelled') throw cancelled();
    return event.logprobs;
  }
  throw new Error('internal: a scored response never finished');
}

export function sum(values: number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
