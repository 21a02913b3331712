// What the engine is asked for and what it says of it: plain data, because it crosses between threads.
import type { Sampling, TokenLogprob } from '../../shared/decoder/sampling.ts';

/** Stop strings are text, and text is not the engine's business. */
export type Job = {
  id: number;
  promptIds: number[];
  /** See GenerationInput. */
  sharedLength: number;
  tenant: string;
  sampling: Omit<Sampling, 'stop'>;
  n: number;
  /** When it came, by `clock`. */
  arrived: number;
};

/** One of a job's n. */
export type Choice = { job: Job; index: number };

export type JobEvent = { id: number; index: number } & (
  | { type: 'start'; waited: number }
  | { type: 'token'; tokenId: number; logprob: number; topLogprobs: TokenLogprob[] }
  | { type: 'finish'; finish: 'stop' | 'length'; stopToken: number | null }
  | { type: 'failed'; message: string }
);

/** Seconds, the same in every thread. */
export function clock(): number {
  return (performance.timeOrigin + performance.now()) / 1000;
}
