// The audit log, for administrators.

import { z } from '@hono/zod-openapi';
import { audit_events } from '../../shared/database/schema.ts';
import { listOperation, toUnixSeconds } from '../http/resource.ts';

const auditEvent = z
  .object({
    id: z.string(),
    object: z.literal('audit_event'),
    created: z.number(),
    actor: z.string().openapi({ description: 'the id of a key, `anonymous`, or `command`' }),
    action: z.string(),
    target: z.string().openapi({ description: 'the id of what was changed' }),
    details: z.record(z.string(), z.unknown()),
  })
  .openapi('AuditEvent');

export const listAuditEvents = listOperation({
  summary: 'Lists who changed what: keys, promotions, rollbacks, and rounds requested and cancelled',
  scopes: ['admin'],
  kind: 'audit event',
  table: audit_events,
  item: auditEvent,
  toResponses: (rows: (typeof audit_events.$inferSelect)[]) =>
    rows.map(({ id, created_at, actor, action, target, details }) => ({
      id,
      object: 'audit_event' as const,
      created: toUnixSeconds(created_at),
      actor,
      action,
      target,
      details,
    })),
});
