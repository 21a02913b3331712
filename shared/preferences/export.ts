// Formats a pair as one JSON line: for OpenAI's preference fine-tuning, for TRL, or with all that Attune knows of it. TRL's line
// also carries id and rater, which TRL ignores; OpenAI rejects unknown keys. Metadata is in Attune's own only: its types differ
// from row to row, which would keep a dataset from loading.

import type { ChatMessage, Prompt } from '../chat-message.ts';
import type { PreferenceSource, Strength } from '../database/schema.ts';

export const EXPORT_FORMATS = ['openai', 'trl', 'attune'] as const;
export type ExportFormat = (typeof EXPORT_FORMATS)[number];

/** A strict preference; or the majority of the votes on a comparison, which has the id of the comparison. */
export type Pair = {
  id: string;
  source: PreferenceSource;
  created_at: Date;
  prompt: Prompt;
  chosen: string;
  rejected: string;
  comparison: string | null;
  /** as the file that it came from had it; null: several people */
  rater: string | null;
  /** null if it was not given, and of a majority */
  strength: Strength | null;
  votes: { chosen: number; rejected: number; tie: number; both_bad: number };
  metadata: Record<string, unknown> | null;
};

/** Without a line feed. */
export function formatPair(pair: Pair, format: ExportFormat): string {
  const { id, prompt, chosen, rejected, rater } = pair;
  if (format === 'openai') {
    const messages: ChatMessage[] = typeof prompt === 'string' ? [{ role: 'user', content: prompt }] : prompt;
    return JSON.stringify({
      input: { messages, tools: [], parallel_tool_calls: true },
      preferred_output: toMessages(chosen),
      non_preferred_output: toMessages(rejected),
    });
  }
  const sides =
    typeof prompt === 'string'
      ? { prompt, chosen, rejected }
      : { prompt, chosen: toMessages(chosen), rejected: toMessages(rejected) };
  if (format === 'trl') return JSON.stringify({ ...sides, id, ...(rater === null ? {} : { rater }) });
  const { created_at, source, comparison, strength, votes, metadata } = pair;
  const created = Math.floor(created_at.getTime() / 1000);
  return JSON.stringify({ id, source, created, ...sides, comparison, rater, strength, votes, metadata });
}

const toMessages = (content: string): ChatMessage[] => [{ role: 'assistant', content }];
