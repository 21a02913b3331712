// The messages between the main thread and the tokenizer thread, which has one request at a time: to encode a prompt, or to
// compile a JSON Schema.
import type { Prompt } from '../../shared/chat-message.ts';
import type { ErrorDetails } from '../../shared/error.ts';
import type { Grammar } from '../grammar/program.ts';
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

/** `path`: of the request's field that has the schema. */
export type SchemaRequest = { schema: unknown; path: string };

/** The parts of a request that run what others wrote: a checkpoint's regular expressions and template, a client's schema. */
export type TokenizerPhase = 'open' | 'render' | 'encode' | 'compile';

/** From the tokenizer thread to the main thread. */
export type TokenizerMessage =
  | { type: 'phase'; phase: TokenizerPhase }
  | { type: 'encoded'; encoded: EncodedPrompt | EncodedPair }
  | { type: 'compiled'; grammar: Grammar }
  /** `details` only for an AttuneError. */
  | { type: 'failed'; message: string; details?: Required<ErrorDetails> };
