// What the API sees of generation: policies that turn prompts into streams of tokens. Types only, so that a Worker, which
// has neither threads nor a native runtime, can be written against them too.
import type { SamplingParams, TokenLogprob } from '../../shared/decoder/sampling.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import type { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';

export type GenerationInput = {
  promptIds: number[];
  sampling: SamplingParams;
  /** Choice i of n samples with a seed derived from (seed, i). */
  n: number;
  /** Who asks: those who wait are served in turn, tenant by tenant. */
  tenant?: string;
  /** Tokens at the beginning that other prompts probably share, such as a system message: kept for them. */
  sharedLength?: number;
};

export type TokenEvent = {
  index: number;
  tokenId: number;
  logprob: number;
  topLogprobs: TokenLogprob[];
  /** What this token adds to the visible text; '' while a stop string or a UTF-8 sequence may be under way. */
  text: string;
};

export type FinishEvent = {
  index: number;
  finishReason: 'stop' | 'length' | 'cancelled';
  /** Every generated token but the one that ended it, those of a stop string included. */
  tokenIds: number[];
  logprobs: number[];
  /** The whole visible text. The tokens' texts joined are a prefix of it: what was still held back only shows here. */
  text: string;
  /** The end-of-sequence token that stopped it; null where a stop string, the length or the client did. */
  stopToken: number | null;
};

export type GenerationEvent = ({ type: 'token' } & TokenEvent) | ({ type: 'finish' } & FinishEvent);

export interface LoadedPolicy {
  readonly id: string;
  readonly architecture: Architecture;
  readonly tokenizer: Tokenizer;
  /**
   * Starts at once; events of the n choices come interleaved, one finish for each. Throws an AttuneError right away for
   * a prompt that does not fit and for a full queue. Leaving the iteration early, or aborting, frees its rows.
   */
  generate(input: GenerationInput, signal?: AbortSignal): AsyncIterable<GenerationEvent>;
}

export interface Inference {
  /** The policy that new requests get; null while none is loaded. */
  active(): LoadedPolicy | null;
  /** The policy of an id; 'attune' or none means the active one. Loads on demand and keeps a few. 404 if unknown. */
  getPolicy(id?: string): Promise<LoadedPolicy>;
  /** Loads and checks a policy beside the active one, then routes new requests to it. If it fails, nothing changes. */
  activate(id: string): Promise<void>;
  /** Ids of the policies whose packages it needs: the active one, those at hand and those that drain. */
  listInUse(): string[];
  /** Cancels what runs and ends the threads. */
  close(): Promise<void>;
}
