// The registry of policies and the log of which one is active, both in Postgres. A policy's row never changes. The log is
// append-only: a rollback is one more activation, which names the earlier one that it restores.

import { and, desc, eq, gt, lt, ne, notExists, sql } from 'drizzle-orm';
import { alias } from 'drizzle-orm/pg-core';
import { notifyChange } from '../database/channels.ts';
import type { Database } from '../database/connect.ts';
import { activations, policies } from '../database/schema.ts';
import { AttuneError } from '../error.ts';
import { type Manifest, manifestSchema, refuseReward, unknownPolicy } from '../package/manifest.ts';
import { isRewardId } from '../package-kind.ts';
import { moveNewPairs } from '../rounds/pairs.ts';
import { writeEvent } from '../webhooks/event.ts';

export type PolicyRow = typeof policies.$inferSelect;
type Activation = typeof activations.$inferSelect;

export async function registerPolicy(db: Database, row: typeof policies.$inferInsert): Promise<PolicyRow> {
  const [policy] = await db.insert(policies).values(row).returning();
  return policy!;
}

/** Throws `model_not_found` for an unknown id, `reward_not_policy` for a reward's. */
export async function getPolicy(db: Database, id: string): Promise<PolicyRow> {
  refuseReward(id);
  const row = await findPackage(db, id);
  if (!row) throw unknownPolicy(id);
  return row;
}

/** The first policy of its line, from which drift is measured. */
export function getRootId({ id, reference_id }: PolicyRow): string {
  return reference_id ?? id;
}

/** Throws `reward_not_found` for an unknown id, `policy_not_reward` for a policy's. */
export async function getReward(db: Database, id: string): Promise<PolicyRow> {
  const row = await findPackage(db, id);
  if (row?.kind === 'reward') return row;
  if (row)
    throw new AttuneError(`${id} is a policy, not a reward; GET /v1/rewards lists the rewards`, {
      param: 'reward',
      code: 'policy_not_reward',
    });
  throw new AttuneError(`there is no reward ${id}; GET /v1/rewards or \`attune rewards list\` lists the rewards`, {
    status: 404,
    param: 'reward',
    code: 'reward_not_found',
  });
}

async function findPackage(db: Database, id: string): Promise<PolicyRow | undefined> {
  const [row] = await db.select().from(policies).where(eq(policies.id, id));
  return row;
}

/** The manifest that a policy or a reward was published with. */
export async function getManifest(db: Database, id: string): Promise<Manifest> {
  return toManifest(await (isRewardId(id) ? getReward(db, id) : getPolicy(db, id)));
}

/** Throws `policy_unusable` if this version cannot read it. */
export function toManifest({ id, manifest }: PolicyRow): Manifest {
  const { data } = manifestSchema.safeParse(manifest);
  if (data) return data;
  throw new AttuneError(
    `policy ${id}: its manifest was written by a newer version of Attune; deploy that version, or roll back`,
    { status: 503, code: 'policy_unusable', retry: false },
  );
}

/** The id of the active policy; null before the first activation. */
export async function getActivePolicyId(db: Database): Promise<string | null> {
  return (await latestActivation(db))?.policy_id ?? null;
}

async function latestActivation(db: Database): Promise<Activation | null> {
  const [row] = await db.select().from(activations).orderBy(desc(activations.id)).limit(1);
  return row ?? null;
}

/** Makes the policy active and notifies every process. In the transaction of the caller if `db` is one. */
export async function activatePolicy(db: Database, id: string, reason: string): Promise<void> {
  await getPolicy(db, id);
  await db.transaction(async (transaction) => {
    await lockActivations(transaction);
    await insertActivation(transaction, await getActivePolicyId(transaction), { policy_id: id, reason });
  });
}

/**
 * Makes a round's policy active in place of the one that was active when the round began. False if an operator has made
 * another policy active since then, or has replaced this one.
 */
export function activateSuccessor(db: Database, id: string, baselineId: string, reason: string): Promise<boolean> {
  return db.transaction(async (transaction) => {
    await lockActivations(transaction);
    const activeId = await getActivePolicyId(transaction);
    if (activeId === id) return true;
    if (activeId !== baselineId || (await transaction.$count(activations, eq(activations.policy_id, id))) > 0)
      return false;
    await insertActivation(transaction, activeId, { policy_id: id, reason });
    return true;
  });
}

/** Until the transaction ends no other one changes the active policy. */
async function lockActivations(transaction: Database): Promise<void> {
  await transaction.execute(sql`lock table ${activations} in share row exclusive mode`);
}

async function insertActivation(
  transaction: Database,
  previous: string | null,
  row: typeof activations.$inferInsert,
): Promise<void> {
  await transaction.insert(activations).values(row);
  await moveNewPairs(transaction, previous, row.policy_id);
  await writeEvent(transaction, 'policy.activated', { id: row.policy_id, reason: row.reason, previous });
  await notifyChange(transaction, row.policy_id);
}

export type RollbackTarget = { previous: Activation; activeId: string };

/** The activation that a rollback restores and the id of the policy that is active now; 409 where there is none. */
export async function findRollbackTarget(db: Database): Promise<RollbackTarget> {
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

/** Makes the previous policy active again. 409 if another one became active since the target was found. */
export async function rollBackPolicy(db: Database, { previous, activeId }: RollbackTarget): Promise<void> {
  await db.transaction(async (transaction) => {
    await lockActivations(transaction);
    const current = await findRollbackTarget(transaction);
    if (current.activeId !== activeId || current.previous.id !== previous.id)
      throw new AttuneError(
        `${current.activeId} became active in place of ${activeId} during the rollback; nothing was changed; roll back again if that is still wanted`,
        { status: 409, code: 'activation_conflict', retry: false },
      );
    const reason = `rollback from ${activeId}`;
    await insertActivation(transaction, activeId, { policy_id: previous.policy_id, reason, restores_id: previous.id });
  });
}
