// POST /v1/embed-tokens: a backend lets a page of its product show a comparison and vote on it, for minutes.

import { z } from '@hono/zod-openapi';
import { comparisons } from '../../shared/database/schema.ts';
import { createEmbedToken } from '../embed-token.ts';
import { defineOperation } from '../http/operation.ts';
import { findOr404, toUnixSeconds } from '../http/resource.ts';
import { getCallerId, getReadableTenant, getTenant } from '../middleware/auth.ts';
import { namedRater } from '../preferences/name-rater.ts';
import { queuedComparison } from '../preferences/store-preference.ts';

const [MIN_SECONDS, DEFAULT_SECONDS, MAX_SECONDS] = [60, 600, 3600];

const embedTokenBody = z
  .strictObject({
    comparison: z.string().min(1, 'give the id of a comparison').optional(),
    user: namedRater.openapi({
      description:
        'the end user who votes, stored as user:…; without comparison: of all comparisons generated for this user',
    }),
    expires_in_seconds: z.int().min(MIN_SECONDS).max(MAX_SECONDS).default(DEFAULT_SECONDS),
    origin: z
      .string()
      .refine((text) => URL.parse(text)?.origin === text, 'give an origin like https://app.example.com')
      .optional()
      .openapi({ description: 'the page that may send it from a browser; default: those of CORS_ORIGINS' }),
  })
  .refine((body) => body.comparison !== undefined || body.user !== undefined, {
    path: ['comparison'],
    error: 'give a comparison, a user, or both',
  });

export const createToken = defineOperation({
  scopes: ['feedback'],
  summary: 'Makes a short-lived token with which a page shows a comparison and its reader votes, once',
  body: embedTokenBody,
  response: z
    .object({
      object: z.literal('embed_token'),
      token: z.string().openapi({ description: 'send it as Authorization: Bearer et_…' }),
      comparison: z.string().nullable(),
      user: z.string().nullable(),
      origin: z.string().nullable(),
      expires_at: z.number(),
    })
    .openapi('EmbedToken'),
  async handler({ ports, context, body }) {
    const { comparison = null, user = null, origin = null } = body;
    let tenant = getTenant(context);
    if (comparison !== null) {
      const readable = getReadableTenant(context);
      const row = await findOr404(ports.db, comparisons, 'comparison', comparison, readable, 'comparison');
      if (row.queue_id !== null) throw queuedComparison('comparison', row.queue_id);
      tenant = row.tenant;
    }
    const embedding = { comparison, user, origin };
    const maker = { by: getCallerId(context), identity: context.get('identity'), tenant };
    const { token, expiresAt } = await createEmbedToken(ports, embedding, maker, body.expires_in_seconds);
    return { object: 'embed_token', token, ...embedding, expires_at: toUnixSeconds(expiresAt) };
  },
});
