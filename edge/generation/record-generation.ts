// What the request's record says about a decoded completion: counts, ids and sampling, never text.

import type { GenerationRecord } from '../http/request-record.ts';
import type { CompletionResult } from './select-choices.ts';

/** `startedAt`: Unix milliseconds. */
export function toGenerationRecord(
  { completion, rows, sampledTokens }: CompletionResult,
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
    completionTokens: sampledTokens,
    finishReasons: rows.map(({ finish_reason }) => finish_reason),
    startedAt,
    endedAt: Date.now(),
  };
}
