// The audit log: who did what to what. Rows are written in the transaction of the change, and never changed (a trigger of
// migration 0011 refuses it).

import { and, asc, eq, gt, gte, inArray, lt, type SQL } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { PAGE_SIZE, readPages } from '../database/read-pages.ts';
import { audit_events } from '../database/schema.ts';
import { newId } from '../id.ts';

export const AUDIT_ACTIONS = [
  'key.created',
  'key.revoked',
  'key.rotated',
  'policy.promoted',
  'policy.rolled_back',
  'policy.watched',
  'canary.started',
  'canary.promoted',
  'canary.kept',
  'canary.rolled_back',
  'canary.expired',
  'canary.cancelled',
  'round.requested',
  'round.cancelled',
  'rater.created',
  'rater.updated',
  'invitation.created',
  'session.created',
  'session.ended',
  'erasure.created',
  'queue.created',
  'queue.updated',
  'queue.requeued',
  'queue.rater_paused',
  'queue.rater_resumed',
  'webhook.resent',
] as const;

export type AuditAction = (typeof AUDIT_ACTIONS)[number];

/** `canary.`: all that can happen to a canary. */
export const AUDIT_PREFIXES = [...new Set(AUDIT_ACTIONS.map((action) => action.slice(0, action.indexOf('.') + 1)))];

export type AuditEntry = {
  /** the id of an API key or a rater, `anonymous`, `command`, `trainer`, or `canary`: its votes and guards */
  actor: string;
  action: AuditAction;
  /** the id of what was changed */
  target: string;
  details?: Record<string, unknown>;
};

/** The actor of a command on the machine itself. */
export const COMMAND = 'command';
/** That of a round that makes its policy a canary, or active. */
export const TRAINER = 'trainer';

export async function recordAudit(
  transaction: Pick<Database, 'insert'>,
  { actor, action, target, details = {} }: AuditEntry,
): Promise<void> {
  await transaction.insert(audit_events).values({ id: newId('audit_'), actor, action, target, details });
}

/** `since` is included, and `until` is not. */
export type AuditFilter = {
  /** one of AUDIT_ACTIONS, or of AUDIT_PREFIXES */
  action?: string | undefined;
  actor?: string | undefined;
  target?: string | undefined;
  since?: Date | undefined;
  until?: Date | undefined;
};

export function matchEvents({ action, actor, target, since, until }: AuditFilter): SQL | undefined {
  const actions = AUDIT_ACTIONS.filter(
    (known) => known === action || (action?.endsWith('.') && known.startsWith(action)),
  );
  return and(
    action === undefined ? undefined : inArray(audit_events.action, actions),
    actor === undefined ? undefined : eq(audit_events.actor, actor),
    target === undefined ? undefined : eq(audit_events.target, target),
    since && gte(audit_events.created_at, since),
    until && lt(audit_events.created_at, until),
  );
}

/** Every event that matches as a JSON line, oldest first. */
export async function* exportAudit(db: Database, filter: AuditFilter = {}): AsyncGenerator<string> {
  const events = readPages((after) =>
    db
      .select()
      .from(audit_events)
      .where(and(matchEvents(filter), gt(audit_events.id, after)))
      .orderBy(asc(audit_events.id))
      .limit(PAGE_SIZE),
  );
  for await (const event of events) yield `${JSON.stringify(toAuditEvent(event))}\n`;
}

/** As the API shows it. */
export function toAuditEvent({ id, created_at, actor, action, target, details }: typeof audit_events.$inferSelect) {
  const created = Math.floor(created_at.getTime() / 1000);
  return { id, object: 'audit_event' as const, created, actor, action, target, details };
}
