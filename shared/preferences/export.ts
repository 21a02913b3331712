// Writes preferences as other people's trainers read them: OpenAI preference fine-tuning, or TRL.

import type { Message, PreferenceRecord } from './record.ts';

/** One line of JSON, or null for what is no strict preference. */
export function writePreference(record: PreferenceRecord, format: 'openai' | 'trl'): string | null {
  const { prompt, a, b, choice } = record;
  if (choice !== 'a' && choice !== 'b') return null;
  const [chosen, rejected] = choice === 'a' ? [a, b] : [b, a];
  const answer = (content: string): Message[] => [{ role: 'assistant', content }];
  if (format === 'trl')
    return JSON.stringify(
      typeof prompt === 'string'
        ? { prompt, chosen, rejected }
        : { prompt, chosen: answer(chosen), rejected: answer(rejected) },
    );
  const messages: Message[] = typeof prompt === 'string' ? [{ role: 'user', content: prompt }] : prompt;
  return JSON.stringify({
    input: { messages, tools: [], parallel_tool_calls: true },
    preferred_output: answer(chosen),
    non_preferred_output: answer(rejected),
  });
}
