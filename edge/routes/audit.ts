// The audit log, for administrators: a page of it, or all as a stream.

import { z } from '@hono/zod-openapi';
import { AUDIT_ACTIONS, AUDIT_PREFIXES, exportAudit, matchEvents, toAuditEvent } from '../../shared/access/audit.ts';
import { audit_events } from '../../shared/database/schema.ts';
import { streamLines } from '../http/jsonl.ts';
import { defineOperation } from '../http/operation.ts';
import { listQuery, listSchema, selectPage, toPage } from '../http/pagination.ts';
import { timeRange } from '../http/time-field.ts';

const auditEvent = z
  .object({
    id: z.string(),
    object: z.literal('audit_event'),
    created: z.number(),
    actor: z
      .string()
      .openapi({ description: 'the id of a key or a rater, `anonymous`, `command`, `trainer`, or `canary`' }),
    action: z.string(),
    target: z.string().openapi({ description: 'the id of what was changed' }),
    details: z.record(z.string(), z.unknown()),
  })
  .openapi('AuditEvent');

const id = z
  .string()
  .min(1)
  .max(300)
  .regex(/^[^\0]+$/)
  .optional();

const filterQuery = z.strictObject({
  action: z
    .enum([...AUDIT_ACTIONS, ...AUDIT_PREFIXES])
    .optional()
    .openapi({ description: 'what was done; `canary.`: all that is done to a canary' }),
  actor: id.openapi({ description: 'who did it' }),
  target: id.openapi({ description: 'the id of what was changed' }),
  ...timeRange,
});

export const listAuditEvents = defineOperation({
  summary: 'Lists who changed what: all, or what was done to one thing, by one person, or at a time',
  scopes: ['admin'],
  query: listQuery.extend(filterQuery.shape),
  response: listSchema(auditEvent),
  async handler({ ports: { db }, query }) {
    const { rows, hasMore } = await selectPage(db, audit_events, query, 'audit event', { filter: matchEvents(query) });
    return toPage(rows.map(toAuditEvent), hasMore);
  },
});

export const exportAuditEvents = defineOperation({
  summary: 'Every event of the audit log, or those that a filter names, as JSONL, oldest first, streamed',
  scopes: ['admin'],
  query: filterQuery,
  response: z.string(),
  responseType: 'application/jsonl',
  handler: async ({ ports, query }) => streamLines(exportAudit(ports.db, query)),
});
