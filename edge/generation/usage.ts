// Token counts as OpenAI reports them.

import { z } from '@hono/zod-openapi';
import type { PreparedCompletion } from './prepare.ts';
import type { GenerationRow } from './store.ts';

export const usageSchema = z.object({
  prompt_tokens: z.number(),
  completion_tokens: z.number(),
  total_tokens: z.number(),
});

export type Usage = z.output<typeof usageSchema>;

/** A prompt counts once, with any number of choices. */
export function countUsage(promptTokens: number, choices: Pick<GenerationRow, 'token_ids'>[]): Usage {
  const completionTokens = choices.reduce((sum, { token_ids }) => sum + token_ids.length, 0);
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
  };
}

export function sumUsage(
  results: { completion: Pick<PreparedCompletion, 'promptIds'>; rows: Pick<GenerationRow, 'token_ids'>[] }[],
): Usage {
  const promptTokens = results.reduce((sum, { completion }) => sum + completion.promptIds.length, 0);
  return countUsage(
    promptTokens,
    results.flatMap(({ rows }) => rows),
  );
}
