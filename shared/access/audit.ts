// The audit log: who did what to what. Rows are written in the transaction of the change, and never changed (a trigger of
// migration 0011 refuses it).
import type { Database } from '../database/connect.ts';
import { audit_events } from '../database/schema.ts';
import { newId } from '../id.ts';

export type AuditAction =
  | 'key.created'
  | 'key.revoked'
  | 'key.rotated'
  | 'policy.promoted'
  | 'policy.rolled_back'
  | 'round.requested'
  | 'round.cancelled';

export type AuditEntry = {
  /** the id of an API key, `anonymous`, or `command` */
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
