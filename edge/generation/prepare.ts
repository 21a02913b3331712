// From a request to a prepared completion: the prompt as tokens, validated against the policy, with its ids and seed.
// Chat completions, completions and comparisons all start here; decode.ts runs the result.

import type { Prompt } from '../../shared/chat-message.ts';
import type { SamplingParams } from '../../shared/decoder/sampling.ts';
import { AttuneError } from '../../shared/error.ts';
import { newId } from '../../shared/id.ts';
import type { LoadedPolicy } from '../engine/inference.ts';
import { countSystemTokens } from './system-prompt.ts';

export type CompletionRequest = {
  /** the operation that asks for it */
  kind: 'chat' | 'text' | 'comparison';
  /** as requested: a policy's id, or the alias of the active one */
  model: string;
  prompt: Prompt;
  /** token ids given instead of text */
  promptIds?: number[];
  n: number;
  /** maxTokens null: defaultMaxTokens if set, otherwise as many as fit into the context */
  sampling: Omit<SamplingParams, 'maxTokens' | 'seed'> & { maxTokens: number | null; seed: number | null };
  defaultMaxTokens?: number;
  /** the request field that maxTokens comes from; default: max_tokens */
  maxTokensField?: string;
  user: string | null;
  metadata: Record<string, string> | null;
  store: boolean;
};

export type PreparedCompletion = {
  id: string;
  /** Unix seconds */
  created: number;
  request: CompletionRequest;
  policy: LoadedPolicy;
  promptIds: number[];
  /** length in tokens of the prefix that other prompts probably share */
  sharedLength: number;
  /** one id per choice; the first is the completion's own */
  ids: string[];
  sampling: SamplingParams;
};

/** Validates the request against the policy and fixes its ids and seed; nothing is computed or stored yet. */
export function prepareCompletion(policy: LoadedPolicy, request: CompletionRequest): PreparedCompletion {
  const { prompt, sampling } = request;
  const promptIds = request.promptIds ?? encodePrompt(policy, prompt);
  const remaining = getRemainingContext(policy, prompt, promptIds);
  assertInVocabulary('logit_bias', Object.keys(sampling.logitBias).map(Number), policy.architecture.vocabSize);
  const maxTokens = sampling.maxTokens ?? Math.min(request.defaultMaxTokens ?? remaining, remaining);
  if (maxTokens > remaining) throw tooManyTokens(request, remaining, promptIds.length);
  const ids = Array.from({ length: request.n }, () => newId(typeof prompt === 'string' ? 'cmpl-' : 'chatcmpl-'));
  return {
    id: ids[0]!,
    created: Math.floor(Date.now() / 1000),
    request,
    policy,
    promptIds,
    sharedLength: typeof prompt === 'string' ? 0 : countSystemTokens(policy, prompt, promptIds),
    ids,
    sampling: {
      ...sampling,
      maxTokens,
      seed: sampling.seed ?? crypto.getRandomValues(new Uint32Array(1))[0]!,
    },
  };
}

function encodePrompt(policy: LoadedPolicy, prompt: Prompt): number[] {
  if (typeof prompt === 'string') return policy.tokenizer.encode(prompt);
  return policy.tokenizer.encode(policy.tokenizer.renderChat(prompt, { addGenerationPrompt: true }));
}

/**
 * Returns the number of tokens that the context leaves for the completion, at least one. Throws for an invalid prompt,
 * like engine/validate-prompt.ts, which also applies the limit of KV_MEMORY; but this error names the request's own field.
 */
function getRemainingContext({ architecture }: LoadedPolicy, prompt: Prompt, promptIds: number[]): number {
  const param = typeof prompt === 'string' ? 'prompt' : 'messages';
  const { contextLength, vocabSize } = architecture;
  if (promptIds.length === 0)
    throw new AttuneError(`${param}: the prompt is empty; give it some text`, { param, code: 'empty_prompt' });
  const remaining = contextLength - promptIds.length;
  if (remaining < 1)
    throw new AttuneError(
      `${param}: the prompt has ${promptIds.length} tokens, over this policy's context of ${contextLength}; shorten it`,
      { param, code: 'context_length_exceeded' },
    );
  assertInVocabulary(param, promptIds, vocabSize);
  return remaining;
}

function assertInVocabulary(param: string, ids: number[], vocabSize: number): void {
  const invalid = ids.find((id) => id >= vocabSize);
  if (invalid !== undefined)
    throw new AttuneError(`${param}: token ${invalid} is outside the vocabulary of ${vocabSize}`, { param });
}

function tooManyTokens(request: CompletionRequest, remaining: number, promptLength: number): AttuneError {
  const param = request.maxTokensField ?? 'max_tokens';
  return new AttuneError(
    `${param}: ${request.sampling.maxTokens} exceeds the ${remaining} tokens that the prompt of ${promptLength} leaves in ` +
      `the context; give ${remaining} or less, or omit it`,
    { param, code: 'context_length_exceeded' },
  );
}
