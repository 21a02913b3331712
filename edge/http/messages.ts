// Prompts in requests and responses: chat messages in OpenAI's shape, text only.

import { z } from '@hono/zod-openapi';
import { CHAT_ROLES } from '../../shared/chat-message.ts';

/** OpenAI's limits. */
const MAX_MESSAGES = 2048;
const MAX_NAME_LENGTH = 64;

const textPart = z.strictObject({ type: z.literal('text'), text: z.string() });

const chatMessage = z.strictObject({
  role: z.enum(CHAT_ROLES).exclude(['tool']),
  content: z.union(
    [
      z.string(),
      z
        .array(textPart)
        .min(1)
        .max(MAX_MESSAGES)
        .transform((parts) => parts.map((part) => part.text).join('')),
    ],
    { error: 'give a text, or an array of text parts; images and audio are not supported' },
  ),
  name: z.string().max(MAX_NAME_LENGTH).optional(),
});

export const chatMessages = z
  .array(chatMessage)
  .min(1, 'give at least one message')
  .max(MAX_MESSAGES, `give at most ${MAX_MESSAGES} messages`)
  .refine((list) => list.some((item) => item.content.trim() !== ''), 'every message is empty; give one some content')
  .transform((list) => list.map(({ role, content }) => ({ role, content })));

/** A prompt as responses carry it: a text, or the messages of a chat. */
export const promptSchema = z.union([z.string(), z.array(z.object({ role: z.enum(CHAT_ROLES), content: z.string() }))]);

/** Of what is stored. The response to a generation has its own text, whatever is stored of it. */
export const redactedField = z
  .literal(true)
  .optional()
  .openapi({ description: 'set if REDACT has replaced something in what is stored' });
