// Schemas of messages in preference files: OpenAI's roles and content parts, ShareGPT's from and value. Only text is
// supported: images, audio and tool calls are rejected, because dropping them would change what was judged.

import { z } from 'zod';
import { CHAT_ROLES, type ChatMessage, type Prompt } from '../chat-message.ts';

/** Zod's error option for a field: the value found, and what to give instead. */
export function expected(requirement: string) {
  return {
    error: ({ input }: { input?: unknown }) =>
      input === undefined ? `is missing; give ${requirement}` : `is ${describe(input)}; give ${requirement}`,
  };
}

export function describe(value: unknown): string {
  if (value === null || typeof value === 'boolean' || typeof value === 'number') return String(value);
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  if (typeof value === 'string') return value.length <= 40 ? JSON.stringify(value) : 'a text';
  return typeof value === 'object' ? 'an object' : typeof value;
}

export const text = z.string(expected('text'));

const content = z.unknown().transform((value, context): string => {
  if (typeof value === 'string') return value;
  const reject = (message: string, path: (string | number)[] = []) => {
    context.addIssue({ code: 'custom', message, path });
    return z.NEVER;
  };
  if (!Array.isArray(value)) return reject(expected('text').error({ input: value }));
  let joined = '';
  for (const [index, part] of value.entries()) {
    if (part?.type !== 'text')
      return reject(`is a part of type ${describe(part?.type)}; only text is supported, remove it`, [index]);
    if (typeof part.text !== 'string') return reject(expected('text').error({ input: part.text }), [index, 'text']);
    joined += part.text;
  }
  return joined;
});

const noCalls = z.array(z.unknown()).max(0, 'is not empty; tool calls are not supported, remove the row').nullish();

const message = z
  .object(
    {
      role: z.enum(CHAT_ROLES, expected('system, developer, user, assistant or tool')),
      // Before content, which is null if there are calls: the calls are the better error.
      tool_calls: noCalls,
      content,
    },
    expected('a message {role, content}'),
  )
  .transform(({ role, content }): ChatMessage => ({ role, content }));

export const conversation = z
  .array(message, expected('a list of messages'))
  .min(1, 'is empty; give at least one message');

/** OpenAI's outputs: a list with one assistant message. */
export const singleAssistantMessage = z
  .array(message, expected('a list with one assistant message'))
  .transform((messages, context) => {
    const [only] = messages;
    if (only && messages.length === 1 && only.role === 'assistant') return only.content;
    const problem = !only ? 'is empty' : messages.length > 1 ? `has ${messages.length} messages` : `is by ${only.role}`;
    context.addIssue({ code: 'custom', message: `${problem}; give one assistant message` });
    return z.NEVER;
  });

/** A single assistant message, not in a list. */
export const assistantMessage = message.transform(({ role, content }, context) => {
  if (role === 'assistant') return content;
  context.addIssue({ code: 'custom', message: `is by ${role}; give an assistant message` });
  return z.NEVER;
});

export const textOrMessages = z.unknown().transform((value, context): Prompt => {
  if (typeof value === 'string') return value;
  if (!Array.isArray(value)) {
    context.addIssue({ code: 'custom', message: expected('text or a list of messages').error({ input: value }) });
    return z.NEVER;
  }
  const parsed = conversation.safeParse(value);
  if (parsed.success) return parsed.data;
  for (const { message, path } of parsed.error.issues) context.addIssue({ code: 'custom', message, path: [...path] });
  return z.NEVER;
});

const SHAREGPT_ROLES: Record<string, ChatMessage['role']> = {
  system: 'system',
  human: 'user',
  user: 'user',
  gpt: 'assistant',
  assistant: 'assistant',
  model: 'assistant',
  observation: 'tool',
  tool: 'tool',
};

const turn = z
  .object(
    { from: z.string(expected(`one of ${Object.keys(SHAREGPT_ROLES).join(', ')}`)), value: text },
    expected('a turn {from, value}'),
  )
  .transform(({ from, value }, context): ChatMessage => {
    const role = Object.hasOwn(SHAREGPT_ROLES, from) ? SHAREGPT_ROLES[from] : undefined;
    if (role) return { role, content: value };
    context.addIssue({
      code: 'custom',
      path: ['from'],
      message: `is ${describe(from)}; use one of ${Object.keys(SHAREGPT_ROLES).join(', ')}`,
    });
    return z.NEVER;
  });

export const turns = z.array(turn, expected('a list of turns')).min(1, 'is empty; give at least one turn');

export const assistantTurn = turn.transform(({ role, content }, context) => {
  if (role === 'assistant') return content;
  context.addIssue({ code: 'custom', path: ['from'], message: `means ${role}; the response must be from gpt` });
  return z.NEVER;
});
