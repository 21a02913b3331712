// The engine's requests and events: plain data, because they are sent between threads.
import type { SamplingParams, TokenLogprob } from '../../shared/decoder/sampling.ts';
import type { ErrorDetails } from '../../shared/error.ts';
import type { Grammar } from '../grammar/program.ts';

/** Has no stop strings: the engine handles token ids only, and the main thread detokenizes. */
export type EngineRequest = {
  id: number;
  promptIds: number[];
  /** See GenerationInput. */
  sharedLengths: number[];
  tenant: string;
  sampling: Omit<SamplingParams, 'stop'>;
  /** See GenerationInput. */
  response?: number[] | undefined;
  /** See GenerationInput. */
  grammar?: Grammar | null | undefined;
  n: number;
  /** A value of epochSeconds. */
  arrivedAt: number;
};

/** One of a request's n choices. */
export type Choice = { request: EngineRequest; index: number };

export type EngineEvent = { id: number; index: number } & (
  | { type: 'start'; queuedSeconds: number }
  | { type: 'token'; tokenId: number; logprob: number; topLogprobs: TokenLogprob[] }
  | { type: 'finish'; finishReason: 'stop' | 'length'; stop: TokenLogprob | null }
  /** `details` only for an AttuneError: the request's own fault. */
  | { type: 'failed'; message: string; details?: ErrorDetails }
);

/** Seconds since the Unix epoch, monotonic and comparable between threads. */
export function epochSeconds(): number {
  return (performance.timeOrigin + performance.now()) / 1000;
}
