// Token counts as OpenAI reports them.

import { z } from '@hono/zod-openapi';
import type { PreparedCompletion } from './prepare.ts';

export const usageSchema = z.object({
  prompt_tokens: z.number(),
  completion_tokens: z.number(),
  total_tokens: z.number(),
});

export type Usage = z.output<typeof usageSchema>;

export function toUsage(promptTokens: number, completionTokens: number): Usage {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
  };
}

/** A prompt counts once, with any number of choices; a candidate counts, whether or not it is returned. */
export function sumUsage(
  results: { completion: Pick<PreparedCompletion, 'promptIds'>; sampledTokens: number }[],
): Usage {
  return toUsage(
    results.reduce((sum, { completion }) => sum + completion.promptIds.length, 0),
    results.reduce((sum, { sampledTokens }) => sum + sampledTokens, 0),
  );
}
