// The API's interface to inference: policies that turn prompts into streams of tokens. No imports from Node, because the
// Worker, which has neither threads nor a native runtime, implements it too.
import type { Prompt } from '../../shared/chat-message.ts';
import type { SamplingParams, TokenLogprob } from '../../shared/decoder/sampling.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import type { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import type { Grammar } from '../grammar/program.ts';

/** The model name of the active policy. */
export const ACTIVE_ALIAS = 'attune';

/** Who waits for a result: queued work is done round-robin by tenant, and dropped when the signal aborts. */
export type Waiter = { tenant?: string | undefined; signal?: AbortSignal | undefined };

/** `isAdmitted`: the request was admitted before, to be decoded, so that ranking what it decoded is never refused. */
export type ScoreWaiter = Waiter & { isAdmitted?: boolean | undefined };

/** A prompt and a response to it, in the tokens that the trainer would read. */
export type EncodedPair = EncodedPrompt & { responseIds: number[] };

/** A text to be scored; with `eos` it ends with the end-of-text token. */
export type ResponseText = { text: string; eos: boolean };

export type EncodedPrompt = {
  promptIds: number[];
  /**
   * Tokens of each prefix that other prompts probably share, in ascending order: the system message, and a chat's prompts
   * of earlier turns. The prefix cache keeps them.
   */
  sharedLengths: number[];
};

export type GenerationInput = {
  /** Valid: validate-prompt.ts has accepted them. */
  promptIds: number[];
  sampling: SamplingParams;
  /** Choice i of n samples with a seed derived from (seed, i). */
  n: number;
  /** Queued requests are served round-robin by tenant. */
  tenant?: string;
  /** Choices of the same request that were submitted before: a request counts as one against its tenant's share. */
  submitted?: number;
  /** See EncodedPrompt. */
  sharedLengths?: number[];
  /**
   * The tokens of a given response, whose log-probabilities are wanted: they are the events of choice 0, without text, and
   * nothing is sampled. maxTokens is their number.
   */
  response?: number[];
  /** What the text may be: only tokens are sampled that leave it the beginning of a text of the grammar. */
  grammar?: Grammar | null;
  /** Called when the first choice leaves the queue. */
  onStart?: (() => void) | undefined;
  /** See ScoreWaiter. */
  isAdmitted?: boolean | undefined;
};

export type TokenEvent = {
  index: number;
  tokenId: number;
  logprob: number;
  topLogprobs: TokenLogprob[];
  /** The text that this token adds; '' while a stop string or a UTF-8 character may be incomplete. */
  text: string;
};

export type FinishEvent = {
  index: number;
  finishReason: 'stop' | 'length' | 'cancelled';
  /** Every generated token, including those of a stop string, but not the end-of-sequence token. */
  tokenIds: number[];
  logprobs: number[];
  /** The whole text. The texts of the token events add up to a prefix of it: text held back until the end is only here. */
  text: string;
  /** The end-of-sequence token that ended the choice; null if a stop string, the length or the client did. */
  stop: TokenLogprob | null;
};

export type GenerationEvent = ({ type: 'token' } & TokenEvent) | ({ type: 'finish' } & FinishEvent);

export interface LoadedPolicy {
  readonly id: string;
  readonly architecture: Architecture;
  /** Decodes on this thread; prompts are encoded with encodePrompt. */
  readonly tokenizer: Tokenizer;
  /** Memory for keys and values. */
  readonly kvMemoryBytes: number;
  /** What a token of a sequence takes of it. */
  readonly kvBytesPerPosition: number;
  /** How many generations decode together. */
  readonly maxRows: number;
  /** Renders and tokenizes a prompt. On Node it does so on another thread, within a time limit. */
  encodePrompt(prompt: Prompt, waiter?: Waiter): Promise<EncodedPrompt>;
  /** As encodePrompt, for a prompt and a response to it. */
  encodePair(prompt: Prompt, response: ResponseText, waiter?: Waiter): Promise<EncodedPair>;
  /** The grammar of a JSON Schema's documents; `path` names it in errors. On Node on another thread too. */
  compileSchema(schema: unknown, path: string, waiter?: Waiter): Promise<Grammar>;
  /**
   * Starts immediately. The events of the n choices are interleaved, with one finish event per choice. Throws an
   * AttuneError synchronously if the queue is full. Aborting, or leaving the iteration early, frees the rows.
   */
  generate(input: GenerationInput, signal?: AbortSignal): AsyncIterable<GenerationEvent>;
}

/** Scores responses; see shared/onnx/reward-graph.ts. */
export interface LoadedReward {
  readonly id: string;
  readonly architecture: Architecture;
  /** Memory for the attention of a row. */
  readonly kvMemoryBytes: number;
  /** Rows of token ids, each a prompt with its response → r(x, y) of each. Throws an AttuneError if the queue is full. */
  score(rows: number[][], waiter: ScoreWaiter): Promise<number[]>;
}

export interface Inference {
  /** The policy that serves new requests; null while none is loaded. */
  getActivePolicy(): LoadedPolicy | null;
  /** The policy that is kept loaded beside the active one; null while none is, or while it loads. */
  getCandidate(): LoadedPolicy | null;
  /** Default: the active policy. Others are loaded on demand, and a few stay loaded. Throws a 404 for an unknown id. */
  getPolicy(id?: string): Promise<LoadedPolicy>;
  /** The policy at float32, whatever it is served at: log-ratios of quantized policies are mostly rounding. */
  getScorer(id?: string): Promise<LoadedPolicy>;
  /** A published reward; one stays loaded. */
  getReward(id: string): Promise<LoadedReward>;
  /** Loads and validates a policy beside the active one, then routes new requests to it. On failure nothing changes. */
  activate(id: string): Promise<void>;
  /** Keeps a policy loaded beside the active one, so that activating it loads nothing; null: none. */
  setCandidate(id: string | null): Promise<void>;
  /** Ids of the packages that must stay on disk: policies that are active, candidates, in standby or draining, and loaded rewards. */
  listInUse(): string[];
  /** Cancels running generations and ends the worker threads. */
  close(): Promise<void>;
}
