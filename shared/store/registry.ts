// The registry of policies and the log of which one is active, both in Postgres. A policy's row never changes. The log is
// append-only: a rollback is one more activation, which names the earlier one that it restores.

import { and, desc, eq, gt, lt, ne, notExists, sql } from 'drizzle-orm';
import { alias } from 'drizzle-orm/pg-core';
import { COMMAND } from '../access/audit.ts';
import { notifyChange } from '../database/channels.ts';
import type { Database } from '../database/connect.ts';
import { activations, canaries, policies } from '../database/schema.ts';
import { AttuneError } from '../error.ts';
import { type Manifest, manifestSchema, refuseReward, unknownPolicy } from '../package/manifest.ts';
import { isRewardId } from '../package-kind.ts';
import { moveNewPairs } from '../rounds/pairs.ts';
import { writeEvent } from '../webhooks/event.ts';
import { type CanaryRow, findOpenCanaries, lockActivations, settleCanaries } from './canary-states.ts';

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

/** What new requests are served by: the active policy, and the canary that gets a share of them. */
export type Serving = {
  activeId: string | null;
  canary: { id: string; policyId: string; baselineId: string; share: number } | null;
};

/** In one statement, so that both are of one time. A canary whose baseline is not the active policy gets nothing. */
export async function readServing(db: Database): Promise<Serving> {
  const active = db
    .select({ policy_id: activations.policy_id })
    .from(activations)
    .orderBy(desc(activations.id))
    .limit(1)
    .as('active');
  const [row] = await db
    .select({
      activeId: active.policy_id,
      id: canaries.id,
      policyId: canaries.policy_id,
      baselineId: canaries.baseline_id,
      share: canaries.share,
    })
    .from(active)
    .leftJoin(canaries, and(sql`${canaries.state} = 'running'`, eq(canaries.baseline_id, active.policy_id)));
  if (!row) return { activeId: null, canary: null };
  const { activeId, id, policyId, baselineId, share } = row;
  return { activeId, canary: id && policyId && baselineId && share ? { id, policyId, baselineId, share } : null };
}

export async function findRunningCanary(db: Database): Promise<CanaryRow | null> {
  return (await findOpenCanaries(db)).running;
}

async function latestActivation(db: Database): Promise<Activation | null> {
  const [row] = await db.select().from(activations).orderBy(desc(activations.id)).limit(1);
  return row ?? null;
}

/** Who activates a policy, and for how many hours it is watched then (WATCH_HOURS). Default: a command, and it is not. */
export type Activator = { actor?: string; watchHours?: number };

/**
 * Makes the policy active and notifies every process. In the transaction of the caller if `db` is one. A canary that runs is
 * promoted if it is this policy's, and cancelled otherwise. `canary`: the one of this policy that has to run, or else a 409.
 */
export async function activatePolicy(
  db: Database,
  id: string,
  reason: string,
  { canary, ...by }: Activator & { canary?: string | undefined } = {},
): Promise<void> {
  await getPolicy(db, id);
  await db.transaction(async (transaction) => {
    await lockActivations(transaction);
    const activeId = await getActivePolicyId(transaction);
    if (canary !== undefined) await assertRuns(transaction, canary, id, activeId);
    await insertActivation(transaction, activeId, { policy_id: id, reason }, by);
  });
}

async function assertRuns(
  transaction: Database,
  canary: string,
  policyId: string,
  activeId: string | null,
): Promise<void> {
  const running = await findRunningCanary(transaction);
  if (running?.id === canary && running.policy_id === policyId) return;
  throw new AttuneError(
    `${canary} is not a running canary of ${policyId}: ${activeId ?? 'no policy'} is active, and nothing was changed; promote without canary if that is still wanted`,
    { status: 409, param: 'canary', code: 'activation_conflict', retry: false },
  );
}

/**
 * Makes a round's policy active in place of the one that was active when the round began. False if an operator has made
 * another policy active since then, or has tried or replaced this one, or if another one is a canary.
 */
export function activateSuccessor(
  db: Database,
  id: string,
  baselineId: string,
  reason: string,
  by: Activator = {},
): Promise<boolean> {
  return db.transaction(async (transaction) => {
    await lockActivations(transaction);
    const activeId = await getActivePolicyId(transaction);
    if (activeId === id) return true;
    if (activeId !== baselineId || (await wasTried(transaction, id))) return false;
    if (await findRunningCanary(transaction)) return false;
    await insertActivation(transaction, activeId, { policy_id: id, reason }, by);
    return true;
  });
}

/** Whether the policy was active or a canary. */
export async function wasTried(db: Database, id: string): Promise<boolean> {
  const [active, canary] = [eq(activations.policy_id, id), eq(canaries.policy_id, id)];
  return (await db.$count(activations, active)) > 0 || (await db.$count(canaries, canary)) > 0;
}

/** The caller holds the lock on activations. */
export async function insertActivation(
  transaction: Database,
  previous: string | null,
  row: typeof activations.$inferInsert,
  { actor = COMMAND, watchHours = 0 }: Activator = {},
  /** of the change of a canary; default: that of the activation */
  why: string = row.reason,
): Promise<void> {
  await transaction.insert(activations).values(row);
  const { policy_id: next, reason } = row;
  await moveNewPairs(transaction, previous, next);
  await writeEvent(transaction, 'policy.activated', { id: next, reason, previous });
  const isRollback = row.restores_id != null;
  await settleCanaries(transaction, { previous, next, isRollback, watchHours, actor, reason: why });
  await notifyChange(transaction, next);
}

export type RollbackTarget = { previous: Activation; activeId: string };

/**
 * The activation that a rollback restores and the id of the policy that is active now; 409 where there is none. `from`: the
 * policy that has to be active, or else a 409.
 */
export async function findRollbackTarget(db: Database, from?: string): Promise<RollbackTarget> {
  const current = await latestActivation(db);
  if (!current) throw new AttuneError('there is no active policy to roll back from', { status: 409, retry: false });
  if (from !== undefined && from !== current.policy_id)
    throw rollbackConflict(`${current.policy_id} is active, not ${from}`);
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
export async function rollBackPolicy(
  db: Database,
  { previous, activeId }: RollbackTarget,
  by: Activator = {},
): Promise<void> {
  await db.transaction(async (transaction) => {
    await lockActivations(transaction);
    const current = await findRollbackTarget(transaction, activeId);
    if (current.previous.id !== previous.id) throw rollbackConflict(`${activeId} became active anew`);
    const reason = `rollback from ${activeId}`;
    const row = { policy_id: previous.policy_id, reason, restores_id: previous.id };
    await insertActivation(transaction, activeId, row, by);
  });
}

function rollbackConflict(problem: string): AttuneError {
  return new AttuneError(`${problem}; nothing was changed; roll back again if that is still wanted`, {
    status: 409,
    code: 'activation_conflict',
    retry: false,
  });
}
