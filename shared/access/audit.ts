// The audit log: who did what to what. Rows are written in the transaction of the change, and never changed (a trigger of
// migration 0011 refuses it).
import { asc, gt } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { PAGE_SIZE, readPages } from '../database/read-pages.ts';
import { audit_events } from '../database/schema.ts';
import { newId } from '../id.ts';

export type AuditAction =
  | 'key.created'
  | 'key.revoked'
  | 'key.rotated'
  | 'policy.promoted'
  | 'policy.rolled_back'
  | 'round.requested'
  | 'round.cancelled'
  | 'rater.created'
  | 'rater.updated'
  | 'invitation.created'
  | 'session.created'
  | 'session.ended'
  | 'erasure.created'
  | 'queue.created'
  | 'queue.updated'
  | 'queue.requeued'
  | 'queue.rater_paused'
  | 'queue.rater_resumed';

export type AuditEntry = {
  /** the id of an API key or a rater, `anonymous`, or `command` */
  actor: string;
  action: AuditAction;
  /** the id of what was changed */
  target: string;
  details?: Record<string, unknown>;
};

/** The actor of a command on the machine itself. */
export const COMMAND = 'command';

export async function recordAudit(
  transaction: Pick<Database, 'insert'>,
  { actor, action, target, details = {} }: AuditEntry,
): Promise<void> {
  await transaction.insert(audit_events).values({ id: newId('audit_'), actor, action, target, details });
}

/** Every event as a JSON line, oldest first. */
export async function* exportAudit(db: Database): AsyncGenerator<string> {
  const events = readPages((after) =>
    db.select().from(audit_events).where(gt(audit_events.id, after)).orderBy(asc(audit_events.id)).limit(PAGE_SIZE),
  );
  for await (const event of events) yield `${JSON.stringify(toAuditEvent(event))}\n`;
}

/** As the API shows it. */
export function toAuditEvent({ id, created_at, actor, action, target, details }: typeof audit_events.$inferSelect) {
  const created = Math.floor(created_at.getTime() / 1000);
  return { id, object: 'audit_event' as const, created, actor, action, target, details };
}
