// API keys, for administrators: created with scopes, listed, revoked, and given new secrets. The text of a key is in one
// response and nowhere else, so these operations store no response for an Idempotency-Key.

import { z } from '@hono/zod-openapi';
import {
  createKey as create,
  type KeyRow,
  revokeKey as revoke,
  rotateKey as rotate,
} from '../../shared/access/keys.ts';
import { keyName, tenantName } from '../../shared/access/names.ts';
import { DEFAULT_TENANT } from '../../shared/access/owner.ts';
import { api_keys } from '../../shared/database/schema.ts';
import { SCOPE_DESCRIPTIONS, SCOPES } from '../../shared/scopes.ts';
import { defineOperation } from '../http/operation.ts';
import { getOperation, listOperation, toUnixSeconds } from '../http/resource.ts';
import { getCallerId } from '../middleware/auth.ts';

const scope = z.enum(SCOPES).openapi({
  description: Object.entries(SCOPE_DESCRIPTIONS)
    .map(([name, description]) => `${name}: ${description}`)
    .join('; '),
});

/** In Unix time. What Postgres and ISO 8601 take without a sign; milliseconds are above it. */
const YEAR_10000 = 253_402_300_800;
const UNIX_SECONDS = 'give a Unix time in seconds, before the year 10000';

const COUNT = 'give a whole number of 1 or more, at most 1000000000';
const limit = z.int(COUNT).min(1, COUNT).max(1e9, COUNT).nullish();
const perMinute = limit.openapi({ description: 'on each Node server; default: its setting' });
const limits = {
  requests_per_minute: perMinute,
  tokens_per_minute: perMinute,
  concurrent_generations: limit.openapi({
    description: 'on each Node server, queued ones included; default: no limit',
  }),
  rows_per_day: limit.openapi({
    description: 'completions, comparisons, preferences and imported rows, by day (UTC); default: no limit',
  }),
};

const key = z
  .object({
    id: z.string(),
    object: z.literal('key'),
    created: z.number(),
    name: z.string(),
    tenant: z.string(),
    scopes: z.array(scope),
    expires_at: z.number().nullable(),
    revoked_at: z.number().nullable(),
    last_used_at: z.number().nullable().openapi({ description: 'to the minute' }),
    created_by: z.string(),
    requests_per_minute: z.int().nullable(),
    tokens_per_minute: z.int().nullable(),
    concurrent_generations: z.int().nullable(),
    rows_per_day: z.int().nullable(),
  })
  .openapi('Key');

const keyWithText = key.extend({
  key: z.string().openapi({ description: 'the key itself, shown this once' }),
});

const toSeconds = (date: Date | null) => date && toUnixSeconds(date);

const toResponse = (row: KeyRow): z.output<typeof key> => ({
  id: row.id,
  object: 'key',
  created: toUnixSeconds(row.created_at),
  name: row.name,
  tenant: row.tenant,
  scopes: row.scopes,
  expires_at: toSeconds(row.expires_at),
  revoked_at: toSeconds(row.revoked_at),
  last_used_at: toSeconds(row.last_used_at),
  created_by: row.created_by,
  requests_per_minute: row.requests_per_minute,
  tokens_per_minute: row.tokens_per_minute,
  concurrent_generations: row.concurrent_generations,
  rows_per_day: row.rows_per_day,
});

export const createKey = defineOperation({
  summary: 'Creates an API key; the response is the only place that has its text',
  scopes: ['admin'],
  body: z.strictObject({
    name: keyName,
    scopes: z.array(scope).min(1, 'give at least one').max(SCOPES.length),
    tenant: tenantName.default(DEFAULT_TENANT),
    expires_at: z
      .int(UNIX_SECONDS)
      .min(0, UNIX_SECONDS)
      .max(YEAR_10000 - 1, UNIX_SECONDS)
      .nullish()
      .openapi({ description: 'Unix time in seconds; default: it does not expire' }),
    ...limits,
  }),
  response: keyWithText,
  async handler({ ports, context, body }) {
    const { name, tenant, scopes, expires_at: seconds } = body;
    const limits = {
      requestsPerMinute: body.requests_per_minute ?? null,
      tokensPerMinute: body.tokens_per_minute ?? null,
      concurrentGenerations: body.concurrent_generations ?? null,
      rowsPerDay: body.rows_per_day ?? null,
    };
    const expiresAt = seconds == null ? null : new Date(seconds * 1000);
    const { row, token } = await ports.db.transaction((transaction) =>
      create(transaction, { name, tenant, scopes: [...new Set(scopes)], expiresAt, ...limits }, getCallerId(context)),
    );
    return { ...toResponse(row), key: token };
  },
});

export const rotateKey = defineOperation({
  summary: 'Gives a key a new secret; the one before stops working within a second',
  scopes: ['admin'],
  response: keyWithText,
  async handler({ ports, context, param }) {
    const { row, token } = await ports.db.transaction((transaction) =>
      rotate(transaction, param('id'), getCallerId(context)),
    );
    return { ...toResponse(row), key: token };
  },
});

export const revokeKey = defineOperation({
  summary: 'Revokes a key for good; it stops working within a second',
  scopes: ['admin'],
  response: key,
  handler: async ({ ports, context, param }) =>
    toResponse(await ports.db.transaction((transaction) => revoke(transaction, param('id'), getCallerId(context)))),
});

const resource = {
  scopes: ['admin' as const],
  kind: 'key',
  table: api_keys,
  item: key,
  toResponses: (rows: KeyRow[]) => rows.map(toResponse),
};

export const listKeys = listOperation({ summary: 'Lists API keys, without their secrets', ...resource });
export const getKey = getOperation({ summary: 'One API key, without its secret', ...resource });
