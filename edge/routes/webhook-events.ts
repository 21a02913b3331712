// The outbox of WEBHOOK_URL: its events of the last three days, delivered or not, which can be sent again.

import { z } from '@hono/zod-openapi';
import { WEBHOOK_TYPES } from '../../shared/database/schema.ts';
import type { WebhookEvent } from '../../shared/webhooks/delivery.ts';
import { EVENT_STATES, findEvent, getEventState, listEvents, resendEvent } from '../../shared/webhooks/outbox.ts';
import { defineOperation } from '../http/operation.ts';
import { listQuery, listSchema, toPage } from '../http/pagination.ts';
import { toUnixSeconds } from '../http/resource.ts';
import { getCallerId, getReadableTenant } from '../middleware/auth.ts';

const webhookEvent = z
  .object({
    id: z.string(),
    object: z.literal('webhook_event'),
    created: z.number(),
    type: z.enum(WEBHOOK_TYPES),
    data: z.record(z.string(), z.unknown()),
    state: z.enum(EVENT_STATES).openapi({ description: 'given_up: after eleven attempts in 22 hours' }),
    attempts: z.int(),
    next_at: z.number().nullable().openapi({ description: 'of a pending one: its next attempt' }),
    delivered_at: z.number().nullable(),
    last_error: z.string().nullable(),
  })
  .openapi('WebhookEvent');

const toResponse = (row: WebhookEvent): z.output<typeof webhookEvent> => {
  const state = getEventState(row);
  return {
    id: row.id,
    object: 'webhook_event',
    created: toUnixSeconds(row.created_at),
    type: row.type,
    data: row.data,
    state,
    attempts: row.attempts,
    next_at: state === 'pending' ? toUnixSeconds(row.next_at) : null,
    delivered_at: row.delivered_at && toUnixSeconds(row.delivered_at),
    last_error: row.last_error,
  };
};

export const listWebhookEvents = defineOperation({
  scopes: ['operate'],
  summary: 'Lists webhook events of the last three days, newest first; of raters, those of your tenant',
  query: listQuery.omit({ order: true }).extend({ state: z.enum(EVENT_STATES).optional() }),
  response: listSchema(webhookEvent),
  async handler({ ports: { db }, context, query: { state, limit, after } }) {
    const tenant = getReadableTenant(context);
    if (after !== undefined) await findEvent(db, after, tenant, 'after');
    const rows = await listEvents(db, { state, after, limit: limit + 1, tenant });
    return toPage(rows.slice(0, limit).map(toResponse), rows.length > limit);
  },
});

export const getWebhookEvent = defineOperation({
  scopes: ['operate'],
  summary: 'One webhook event',
  response: webhookEvent,
  handler: async ({ ports: { db }, context, param }) =>
    toResponse(await findEvent(db, param('id'), getReadableTenant(context))),
});

export const resendWebhookEvent = defineOperation({
  scopes: ['operate'],
  summary: 'Sends a webhook event again, with its id; its attempts begin anew',
  idempotent: true,
  response: webhookEvent,
  async handler({ ports, context, commit, param }) {
    const response = await commit(async (transaction) =>
      toResponse(await resendEvent(transaction, param('id'), getCallerId(context), getReadableTenant(context))),
    );
    await ports.sendWebhooks();
    return response;
  },
});
