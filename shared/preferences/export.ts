// Formats a preference as one JSON line for other trainers: OpenAI's preference fine-tuning or TRL. Ties have no line.
// TRL's line also carries id and rater, which TRL ignores; OpenAI rejects unknown keys. Metadata is left out: its types
// differ from row to row, which would keep a dataset from loading.

import type { ChatMessage } from '../chat-message.ts';
import type { PreferenceRecord } from './record.ts';

/** Without a line feed; null for a tie. */
export function formatPreference(record: PreferenceRecord, format: 'openai' | 'trl'): string | null {
  const { prompt, a, b, choice, rater, externalId } = record;
  if (choice !== 'a' && choice !== 'b') return null;
  const [chosen, rejected] = choice === 'a' ? [a, b] : [b, a];
  if (format === 'openai') {
    const messages: ChatMessage[] = typeof prompt === 'string' ? [{ role: 'user', content: prompt }] : prompt;
    return JSON.stringify({
      input: { messages, tools: [], parallel_tool_calls: true },
      preferred_output: toMessages(chosen),
      non_preferred_output: toMessages(rejected),
    });
  }
  const pair =
    typeof prompt === 'string'
      ? { prompt, chosen, rejected }
      : { prompt, chosen: toMessages(chosen), rejected: toMessages(rejected) };
  return JSON.stringify({
    ...pair,
    ...(externalId === null ? {} : { id: externalId }),
    ...(rater === null ? {} : { rater }),
  });
}

const toMessages = (content: string): ChatMessage[] => [{ role: 'assistant', content }];
