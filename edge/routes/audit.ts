// The audit log, for administrators: a page of it, or all as a stream.

import { z } from '@hono/zod-openapi';
import { exportAudit, toAuditEvent } from '../../shared/access/audit.ts';
import { audit_events } from '../../shared/database/schema.ts';
import { streamLines } from '../http/jsonl.ts';
import { defineOperation } from '../http/operation.ts';
import { listOperation } from '../http/resource.ts';

const auditEvent = z
  .object({
    id: z.string(),
    object: z.literal('audit_event'),
    created: z.number(),
    actor: z.string().openapi({ description: 'the id of a key or a rater, `anonymous`, or `command`' }),
    action: z.string(),
    target: z.string().openapi({ description: 'the id of what was changed' }),
    details: z.record(z.string(), z.unknown()),
  })
  .openapi('AuditEvent');

export const listAuditEvents = listOperation({
  summary:
    'Lists who changed what: keys, raters, sessions, promotions, rollbacks, erasures, and rounds requested and cancelled',
  scopes: ['admin'],
  kind: 'audit event',
  table: audit_events,
  item: auditEvent,
  toResponses: (rows: (typeof audit_events.$inferSelect)[]) => rows.map(toAuditEvent),
});

export const exportAuditEvents = defineOperation({
  summary: 'Every event of the audit log as JSONL, oldest first, streamed',
  scopes: ['admin'],
  response: z.string(),
  responseType: 'application/jsonl',
  handler: async ({ ports }) => streamLines(exportAudit(ports.db)),
});
