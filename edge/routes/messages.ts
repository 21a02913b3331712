// The messages of a chat, as OpenAI has them; text only.

import { z } from '@hono/zod-openapi';

const textPart = z.strictObject({ type: z.literal('text'), text: z.string() });

const message = z.strictObject({
  role: z.enum(['system', 'developer', 'user', 'assistant']),
  content: z.union(
    [
      z.string(),
      z
        .array(textPart)
        .min(1)
        .transform((parts) => parts.map((part) => part.text).join('')),
    ],
    {
      error: 'give a text, or an array of text parts; images and audio are not served here',
    },
  ),
  name: z.string().optional(),
});

export const messages = z
  .array(message)
  .min(1, 'give at least one message')
  .refine((list) => list.some((item) => item.content.trim() !== ''), 'every message is empty; give one some content')
  .transform((list) => list.map(({ role, content }) => ({ role, content })));
