// What the engine is asked for and what it says of it: plain data, because it crosses between threads.
import type { SamplingParams, TokenLogprob } from '../../shared/decoder/sampling.ts';

/** Stop strings are text, and text is not the engine's business. */
export type EngineRequest = {
  id: number;
  promptIds: number[];
  /** See GenerationInput. */
  sharedLength: number;
  tenant: string;
  sampling: Omit<SamplingParams, 'stop'>;
  n: number;
  /** When it came, by `clock`. */
  arrivedAt: number;
};

/** One of a job's n. */
export type Choice = { request: EngineRequest; index: number };

export type EngineEvent = { id: number; index: number } & (
  | { type: 'start'; queuedSeconds: number }
  | { type: 'token'; tokenId: number; logprob: number; topLogprobs: TokenLogprob[] }
  | { type: 'finish'; finish: 'stop' | 'length'; stopToken: number | null }
  | { type: 'failed'; message: string }
);

/** Seconds, the same in every thread. */
export function epochSeconds(): number {
  return (performance.timeOrigin + performance.now()) / 1000;
}
