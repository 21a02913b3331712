// Messages as other people write them: OpenAI's roles and content parts, ShareGPT's from and value. Only text is
// understood: images, audio and tool calls are refused, because dropping them would change what was judged.
import { z } from 'zod';
import { CHAT_ROLES, type ChatMessage, type Prompt } from '../chat-message.ts';

/** Zod's error option for a field: says what is there instead, and what to give. */
export function need(what: string) {
  return {
    error: ({ input }: { input?: unknown }) =>
      input === undefined ? `is missing; give ${what}` : `is ${describe(input)}; give ${what}`,
  };
}

export function describe(value: unknown): string {
  if (value === null || typeof value === 'boolean' || typeof value === 'number') return String(value);
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  if (typeof value === 'string') return value.length <= 40 ? JSON.stringify(value) : 'a text';
  return typeof value === 'object' ? 'an object' : typeof value;
}

export const text = z.string(need('text'));

const content = z.unknown().transform((value, context): string => {
  if (typeof value === 'string') return value;
  const refuse = (message: string, path: (string | number)[] = []) => {
    context.addIssue({ code: 'custom', message, path });
    return z.NEVER;
  };
  if (!Array.isArray(value)) return refuse(need('text').error({ input: value }));
  let joined = '';
  for (const [index, part] of value.entries()) {
    if (part?.type !== 'text')
      return refuse(`is a part of type ${describe(part?.type)}; only text is understood, leave it out`, [index]);
    if (typeof part.text !== 'string') return refuse(need('text').error({ input: part.text }), [index, 'text']);
    joined += part.text;
  }
  return joined;
});

const noCalls = z.array(z.unknown()).max(0, 'is not empty; tool calls are not understood, leave the row out').nullish();

const message = z
  .object(
    {
      role: z.enum(CHAT_ROLES, need('system, developer, user, assistant or tool')),
      // before content, which is null where there are calls: the calls are the better reason
      tool_calls: noCalls,
      content,
    },
    need('a message {role, content}'),
  )
  .transform(({ role, content }): ChatMessage => ({ role, content }));

export const conversation = z.array(message, need('a list of messages')).min(1, 'is empty; give at least one message');

/** OpenAI's outputs: a list that holds the one answer. */
export const oneAnswer = z.array(message, need('a list with one assistant message')).transform((messages, context) => {
  const [answer] = messages;
  if (answer && messages.length === 1 && answer.role === 'assistant') return answer.content;
  const found = !answer ? 'is empty' : messages.length > 1 ? `has ${messages.length} messages` : `is by ${answer.role}`;
  context.addIssue({ code: 'custom', message: `${found}; give one assistant message` });
  return z.NEVER;
});

/** One assistant message that is not in a list. */
export const answer = message.transform(({ role, content }, context) => {
  if (role === 'assistant') return content;
  context.addIssue({ code: 'custom', message: `is by ${role}; give an assistant message` });
  return z.NEVER;
});

export const textOrMessages = z.unknown().transform((value, context): Prompt => {
  if (typeof value === 'string') return value;
  if (!Array.isArray(value)) {
    context.addIssue({ code: 'custom', message: need('text or a list of messages').error({ input: value }) });
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
    { from: z.string(need(`one of ${Object.keys(SHAREGPT_ROLES).join(', ')}`)), value: text },
    need('a turn {from, value}'),
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

export const turns = z.array(turn, need('a list of turns')).min(1, 'is empty; give at least one turn');

export const turnOfAnswer = turn.transform(({ role, content }, context) => {
  if (role === 'assistant') return content;
  context.addIssue({ code: 'custom', path: ['from'], message: `means ${role}; the answer must be from gpt` });
  return z.NEVER;
});
