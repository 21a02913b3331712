// From a request to a prepared completion: the prompt as tokens, validated against the policy, with its ids and seed.
// Chat completions, completions and comparisons all start here; decode.ts takes it from there.

import type { Prompt } from '../../shared/chat-message.ts';
import type { SamplingParams } from '../../shared/decoder/sampling.ts';
import { AttuneError } from '../../shared/error.ts';
import { newId } from '../../shared/id.ts';
import type { LoadedPolicy } from '../engine/inference.ts';
import { countSystemTokens } from './system-prompt.ts';

export type CompletionRequest = {
  kind: 'chat' | 'text';
  prompt: Prompt;
  /** token ids given instead of text */
  promptIds?: number[];
  n: number;
  /** maxTokens null: defaultTokens, or else as many as fit into the context */
  sampling: Omit<SamplingParams, 'maxTokens' | 'seed'> & { maxTokens: number | null; seed: number | null };
  defaultTokens?: number;
  /** the request field that maxTokens comes from; default: max_tokens */
  lengthField?: string;
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
  const { kind, prompt, sampling } = request;
  const promptIds = request.promptIds ?? encodePrompt(policy, prompt);
  const room = validatePrompt(policy, kind, promptIds);
  assertInVocabulary('logit_bias', Object.keys(sampling.logitBias).map(Number), policy.architecture.vocabSize);
  const maxTokens = sampling.maxTokens ?? Math.min(request.defaultTokens ?? room, room);
  if (maxTokens > room) throw tooLong(request, room, promptIds.length, policy.architecture.contextLength);
  const ids = Array.from({ length: request.n }, () => newId(kind === 'chat' ? 'chatcmpl-' : 'cmpl-'));
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

/** Returns how many tokens the context leaves for the completion, at least one. */
function validatePrompt({ architecture }: LoadedPolicy, kind: CompletionRequest['kind'], promptIds: number[]): number {
  const param = kind === 'chat' ? 'messages' : 'prompt';
  const { contextLength, vocabSize } = architecture;
  if (promptIds.length === 0)
    throw new AttuneError(`${param}: the prompt is empty; give it some text`, { param, code: 'empty_prompt' });
  const room = contextLength - promptIds.length;
  if (room < 1)
    throw new AttuneError(
      `${param}: the prompt has ${promptIds.length} tokens, over this policy's context of ${contextLength}; shorten it`,
      { param, code: 'context_length_exceeded' },
    );
  assertInVocabulary(param, promptIds, vocabSize);
  return room;
}

function assertInVocabulary(param: string, ids: number[], vocabSize: number): void {
  const invalid = ids.find((id) => id >= vocabSize);
  if (invalid !== undefined)
    throw new AttuneError(`${param}: token ${invalid} is outside the vocabulary of ${vocabSize}`, { param });
}

function tooLong(request: CompletionRequest, room: number, promptLength: number, contextLength: number): AttuneError {
  const param = request.lengthField ?? 'max_tokens';
  return new AttuneError(
    `${param}: ${request.sampling.maxTokens} exceeds the context of ${contextLength} tokens, of which the prompt takes ` +
      `${promptLength}; give ${room} or less, or leave it out`,
    { param, code: 'context_length_exceeded' },
  );
}
