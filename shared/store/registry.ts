// The registry of policies and the log of which one is active, both in Postgres. A policy's row never changes. The log is
// append-only: a rollback is one more activation, which names the earlier one that it restores.

import { and, desc, eq, gt, lt, ne, notExists } from 'drizzle-orm';
import { alias } from 'drizzle-orm/pg-core';
import { notifyChange } from '../database/channels.ts';
import type { Database } from '../database/connect.ts';
import { activations, policies } from '../database/schema.ts';
import { AttuneError } from '../error.ts';
import { unknownPolicy } from '../package/manifest.ts';
import { writeEvent } from '../webhooks/event.ts';

export type PolicyRow = typeof policies.$inferSelect;
type Activation = typeof activations.$inferSelect;

export async function registerPolicy(db: Database, row: typeof policies.$inferInsert): Promise<void> {
  await db.insert(policies).values(row).onConflictDoNothing({ target: policies.id });
}

/** Throws `model_not_found` for an unknown id. */
export async function getPolicy(db: Database, id: string): Promise<PolicyRow> {
  const [row] = await db.select().from(policies).where(eq(policies.id, id));
  if (!row) throw unknownPolicy(id);
  return row;
}

/** The id of the active policy; null before the first activation. */
export async function getActivePolicyId(db: Database): Promise<string | null> {
  return (await latestActivation(db))?.policy_id ?? null;
}

async function latestActivation(db: Database): Promise<Activation | null> {
  const [row] = await db.select().from(activations).orderBy(desc(activations.id)).limit(1);
  return row ?? null;
}

/** Makes the policy active and notifies every process. `restoresId`: the activation that a rollback restores. */
export async function activatePolicy(db: Database, id: string, reason: string, restoresId?: number): Promise<void> {
  await getPolicy(db, id);
  await db.transaction(async (transaction) => {
    const previous = await getActivePolicyId(transaction);
    await transaction.insert(activations).values({ policy_id: id, reason, restores_id: restoresId });
    await writeEvent(transaction, 'policy.activated', { id, reason, previous });
    await notifyChange(transaction, id);
  });
}

/** The activation that a rollback restores and the id of the policy that is active now; 409 where there is none. */
export async function findRollbackTarget(db: Database): Promise<{ previous: Activation; activeId: string }> {
  const current = await latestActivation(db);
  if (!current) throw new AttuneError('there is no active policy to roll back from', { status: 409, retry: false });
  // Rollbacks undo the rows between themselves and what they restore, so that two rollbacks go back two policies.
  const rollback = alias(activations, 'rollback');
  const undoing = db
    .select({ id: rollback.id })
    .from(rollback)
    .where(and(lt(rollback.restores_id, activations.id), gt(rollback.id, activations.id)));
  const [previous] = await db
    .select()
    .from(activations)
    .where(
      and(
        lt(activations.id, current.restores_id ?? current.id),
        ne(activations.policy_id, current.policy_id),
        notExists(undoing),
      ),
    )
    .orderBy(desc(activations.id))
    .limit(1);
  if (!previous)
    throw new AttuneError(`${current.policy_id} is the first policy; there is nothing to roll back to`, {
      status: 409,
      retry: false,
    });
  return { previous, activeId: current.policy_id };
}

/** Makes the previous policy active and returns its id. `check` runs first; if it throws, nothing changes. */
export async function rollBackPolicy(db: Database, check: (id: string) => Promise<unknown>): Promise<string> {
  const { previous, activeId } = await findRollbackTarget(db);
  await check(previous.policy_id);
  await activatePolicy(db, previous.policy_id, `rollback from ${activeId}`, previous.id);
  return previous.policy_id;
}
