// One preference as a line of JSON that other trainers read: OpenAI's preference fine-tuning or TRL. It carries the pair;
// ties have no line. TRL's line also carries id and rater, which TRL ignores; OpenAI refuses keys that it does not know.
// Metadata stays behind: its types differ from row to row, which would keep a dataset from loading.
import type { ChatMessage } from '../chat-message.ts';
import type { PreferenceRecord } from './record.ts';

/** A strict preference → one line without its line feed; a tie → null. */
export function formatPreference(record: PreferenceRecord, format: 'openai' | 'trl'): string | null {
  const { prompt, a, b, choice, rater, externalId } = record;
  if (choice !== 'a' && choice !== 'b') return null;
  const [chosen, rejected] = choice === 'a' ? [a, b] : [b, a];
  if (format === 'openai') {
    const messages: ChatMessage[] = typeof prompt === 'string' ? [{ role: 'user', content: prompt }] : prompt;
    return JSON.stringify({
      input: { messages, tools: [], parallel_tool_calls: true },
      preferred_output: say(chosen),
      non_preferred_output: say(rejected),
    });
  }
  const pair =
    typeof prompt === 'string'
      ? { prompt, chosen, rejected }
      : { prompt, chosen: say(chosen), rejected: say(rejected) };
  return JSON.stringify({
    ...pair,
    ...(externalId === null ? {} : { id: externalId }),
    ...(rater === null ? {} : { rater }),
  });
}

const say = (content: string): ChatMessage[] => [{ role: 'assistant', content }];
