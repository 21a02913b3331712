// The settings that are in force, and where each is from. Secrets are not shown.

import { z } from '@hono/zod-openapi';
import { listSettings as describe, SETTING_SOURCES } from '../../shared/settings.ts';
import { defineOperation } from '../http/operation.ts';

const setting = z
  .object({
    name: z.string(),
    value: z.string().nullable().openapi({ description: 'null: not set, or a secret; of a URL its origin' }),
    default: z.string().nullable(),
    source: z.enum(SETTING_SOURCES),
    secret: z.boolean(),
    description: z.string(),
  })
  .openapi('Setting');

export const listSettings = defineOperation({
  scopes: ['operate'],
  summary: 'The settings that are in force on the server that answers, and where each is from',
  response: z.object({ object: z.literal('list'), data: z.array(setting) }),
  handler: async ({ ports: { settings } }) => ({ object: 'list' as const, data: describe(settings) }),
});
