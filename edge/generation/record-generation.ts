// What the request's record says about a decoded completion: counts, ids and sampling, never text.

import type { GenerationRecord } from '../http/request-record.ts';
import type { PreparedCompletion } from './prepare.ts';

/** `choices`: their rows; `startedAt`: Unix milliseconds. */
export function toGenerationRecord(
  completion: PreparedCompletion,
  choices: { token_ids: number[]; finish_reason: string }[],
  startedAt: number,
): GenerationRecord {
  const { request, policy, promptIds, sampling } = completion;
  const { temperature, topP, maxTokens, seed } = sampling;
  return {
    operation: typeof request.prompt === 'string' ? 'text_completion' : 'chat',
    model: request.model,
    policyId: policy.id,
    completionId: completion.id,
    choiceIds: completion.ids,
    sampling: { temperature, topP, maxTokens, seed },
    promptTokens: promptIds.length,
    completionTokens: choices.reduce((sum, { token_ids }) => sum + token_ids.length, 0),
    finishReasons: choices.map(({ finish_reason }) => finish_reason),
    startedAt,
    endedAt: Date.now(),
  };
}
