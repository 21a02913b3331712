// From a request to a draft of its completion: the prompt as tokens, checked against the policy; ids and seed fixed.
// Chat, text completions and comparisons all begin here; decoding.ts takes the drafts to their end.

import type { Prompt } from '../../shared/database/schema.ts';
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
  /** maxTokens null: as many as there is room for, or defaultTokens */
  sampling: Omit<SamplingParams, 'maxTokens' | 'seed'> & { maxTokens: number | null; seed: number | null };
  defaultTokens?: number;
  /** the field that gave maxTokens, if not max_tokens */
  lengthField?: string;
  user: string | null;
  metadata: Record<string, string> | null;
  store: boolean;
};

export type PreparedCompletion = {
  id: string;
  created: number;
  request: CompletionRequest;
  policy: LoadedPolicy;
  promptIds: number[];
  /** tokens of the prompt's beginning that other prompts probably share */
  sharedLength: number;
  ids: string[];
  sampling: SamplingParams;
};

/** Checks the request against the policy and fixes its ids and seed; nothing is computed or stored yet. */
export function prepareCompletion(policy: LoadedPolicy, request: CompletionRequest): PreparedCompletion {
  const { kind, prompt, sampling } = request;
  const promptIds = request.promptIds ?? encodePrompt(policy, prompt);
  const room = checkPrompt(policy, kind, promptIds);
  checkTokens('logit_bias', Object.keys(sampling.logitBias).map(Number), policy.architecture.vocabSize);
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

/** The tokens that the context has left for an answer, at least one. */
function checkPrompt({ architecture }: LoadedPolicy, kind: CompletionRequest['kind'], promptIds: number[]): number {
  const param = kind === 'chat' ? 'messages' : 'prompt';
  const { contextLength, vocabSize } = architecture;
  if (promptIds.length === 0)
    throw new AttuneError(`${param}: the prompt is empty; give it some text`, { param, code: 'empty_prompt' });
  const room = contextLength - promptIds.length;
  if (room < 1)
    throw new AttuneError(
      `${param}: the prompt has ${promptIds.length} tokens and this policy's context holds ${contextLength}; shorten it`,
      { param, code: 'context_length_exceeded' },
    );
  checkTokens(param, promptIds, vocabSize);
  return room;
}

function checkTokens(param: string, ids: number[], vocabSize: number): void {
  const wrong = ids.find((id) => id >= vocabSize);
  if (wrong !== undefined)
    throw new AttuneError(`${param}: token ${wrong} is outside the vocabulary of ${vocabSize}`, { param });
}

function tooLong(request: CompletionRequest, room: number, promptLength: number, contextLength: number): AttuneError {
  const param = request.lengthField ?? 'max_tokens';
  return new AttuneError(
    `${param}: ${request.sampling.maxTokens} is over the context: of its ${contextLength} tokens the prompt takes ` +
      `${promptLength}; give ${room} or less, or leave it out`,
    { param, code: 'context_length_exceeded' },
  );
}
