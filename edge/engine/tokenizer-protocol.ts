// The messages between the main thread and the tokenizer thread, which has one request at a time.
import type { Prompt } from '../../shared/chat-message.ts';
import type { ErrorDetails } from '../../shared/error.ts';
import type { EncodedPair, EncodedPrompt, ResponseText } from './inference.ts';

export type TokenizerRequest = {
  /** The folder of the policy's package. */
  folder: string;
  /** Digest of the tokenizer's files: policies with equal ones share a tokenizer. */
  key: string;
  contextLength: number;
  /** null: only open the tokenizer, and warm it up. */
  prompt: Prompt | null;
  /** A response to the prompt, to be tokenized with it. */
  response?: ResponseText | undefined;
};

/** The parts of a request that run what a checkpoint brings: its regular expressions, and its template. */
export type TokenizerPhase = 'open' | 'render' | 'encode';

/** From the tokenizer thread to the main thread. */
export type TokenizerMessage =
  | { type: 'phase'; phase: TokenizerPhase }
  | { type: 'encoded'; encoded: EncodedPrompt | EncodedPair }
  /** `details` only for an AttuneError. */
  | { type: 'failed'; message: string; details?: Required<ErrorDetails> };
