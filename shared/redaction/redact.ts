// What REDACT does to a value before it is stored: each of its texts is replaced by the one that may be stored. A value that
// has nothing to redact is returned itself, so that `!==` tells whether anything was.

import type { ChatMessage, Prompt } from '../chat-message.ts';

/** A text → the text that may be stored. What it throws keeps the request from storing anything. */
export type Redact = (text: string) => string | Promise<string>;

/** The contents of a prompt; roles are not texts. */
export async function redactPrompt(redact: Redact | null, prompt: Prompt): Promise<Prompt> {
  if (typeof prompt === 'string') return redactValue(redact, prompt);
  const redacted = await Promise.all(
    prompt.map(async (message): Promise<ChatMessage> => {
      const content = await redactValue(redact, message.content);
      return content === message.content ? message : { ...message, content };
    }),
  );
  return redacted.some((message, at) => message !== prompt[at]) ? redacted : prompt;
}

/** The texts of a JSON value, at any depth; names of fields stay. */
export async function redactValue<T>(redact: Redact | null, value: T): Promise<T> {
  if (!redact) return value;
  if (typeof value === 'string') return (await redact(value)) as T;
  if (value === null || typeof value !== 'object') return value;
  const entries = Object.entries(value);
  const redacted = await Promise.all(
    entries.map(async ([key, item]) => [key, await redactValue(redact, item)] as const),
  );
  if (redacted.every(([, item], at) => item === entries[at]![1])) return value;
  return (Array.isArray(value) ? redacted.map(([, item]) => item) : Object.fromEntries(redacted)) as T;
}
