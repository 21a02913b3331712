// What the request's record says about a decoded completion: counts, ids and sampling, never text.

import { repetitionShare } from '../../shared/statistics/repeated-ngrams.ts';
import type { GenerationRecord } from '../http/request-record.ts';
import type { CompletionResult } from './select-choices.ts';

/** Times: Unix milliseconds. */
export function toGenerationRecord(
  { completion, rows, sampledTokens }: CompletionResult,
  times: { startedAt: number; firstTokenAt: number | null },
): GenerationRecord {
  const { request, policy, promptIds, sampling } = completion;
  const { temperature, topP, maxTokens, seed } = sampling;
  return {
    operation: typeof request.prompt === 'string' ? 'text_completion' : 'chat',
    model: request.model,
    isCompared: request.kind === 'comparison',
    policyId: policy.id,
    completionId: completion.id,
    choiceIds: completion.ids,
    sampling: { temperature, topP, maxTokens, seed },
    promptTokens: promptIds.length,
    completionTokens: sampledTokens,
    finishReasons: rows.map(({ finish_reason }) => finish_reason),
    responses: rows.map(({ text, token_ids }) => ({
      tokens: token_ids.length,
      repetition: repetitionShare(token_ids),
      isEmpty: text.trim() === '',
    })),
    ...times,
    endedAt: Date.now(),
  };
}
