// Canaries: a policy is tried on a share of the traffic before it is active, and watched once it is (Davidovič and Beyer, "Canary
// Analysis Service", ACM Queue 2018). Here are the changes of its state; decide.ts says when.

import { desc, eq } from 'drizzle-orm';
import { recordAudit } from '../access/audit.ts';
import { notifyChange } from '../database/channels.ts';
import type { Database } from '../database/connect.ts';
import { activations, canaries } from '../database/schema.ts';
import { AttuneError } from '../error.ts';
import { newId } from '../id.ts';
import { type CanaryRow, type Change, lockActivations, moveCanary, type OpenState } from '../store/canary-states.ts';
import { findRunningCanary, getActivePolicyId, getPolicy, insertActivation } from '../store/registry.ts';
import { writeEvent } from '../webhooks/event.ts';

/** The actor of what votes, guards and clocks decide. */
export const BY_ITSELF = 'canary';

type Start = {
  policyId: string;
  /** the policy that must be active; default: whichever is */
  baselineId?: string;
  /** of the completions */
  share: number;
  /** default: the round that published the policy */
  roundId?: string | null;
  actor: string;
};

/** Makes a policy a canary. Throws a 409 if another one is, if it is active itself, or if another baseline is. */
export async function startCanary(transaction: Database, start: Start): Promise<CanaryRow> {
  const { policyId, share, actor } = start;
  const { round_id: publishedBy } = await getPolicy(transaction, policyId);
  await lockActivations(transaction);
  const baseline = await getActivePolicyId(transaction);
  if (!baseline)
    throw conflict('there is no active policy, which a canary is compared with; promote one first', 'no_active_policy');
  if (baseline === policyId) throw conflict(`${policyId} is the active policy; nothing can be tried`, 'policy_active');
  if (start.baselineId !== undefined && start.baselineId !== baseline)
    throw conflict(`${baseline} became active in place of ${start.baselineId}`, 'activation_conflict');
  const running = await findRunningCanary(transaction);
  if (running)
    throw conflict(
      `${running.policy_id} is a canary (${running.id}), and there is one at a time; wait until it is decided, or cancel it: POST /v1/canaries/${running.id}/cancel`,
      'canary_running',
    );
  const round = start.roundId ?? publishedBy;
  const [row] = await transaction
    .insert(canaries)
    .values({
      id: newId('canary_'),
      policy_id: policyId,
      baseline_id: baseline,
      round_id: round,
      state: 'running',
      share,
      created_by: actor,
    })
    .returning();
  const { id } = row!;
  const details = { policy: policyId, baseline, share };
  await recordAudit(transaction, { actor, action: 'canary.started', target: id, details });
  await writeEvent(transaction, 'canary.started', { id, ...details, round });
  await notifyChange(transaction, id);
  return row!;
}

/**
 * Makes the candidate active. Null, here and below, if the canary is in another state by now, or another policy is active than
 * in this state: then it is not what the decision was about.
 */
export async function promoteCanary(
  transaction: Database,
  id: string,
  { actor, reason, watchHours }: Change & { watchHours: number },
): Promise<CanaryRow | null> {
  const row = await findInState(transaction, id, 'running');
  if (!row) return null;
  const { policy_id, baseline_id } = row;
  const activation = { policy_id, reason: `promoted from ${id}` };
  await insertActivation(transaction, baseline_id, activation, { actor, watchHours }, reason);
  return findCanary(transaction, id);
}

/** Ends the trial of a policy that is worse; `from` watching, it is active already, and its baseline is active again. */
export async function rollBackCanary(
  transaction: Database,
  id: string,
  from: OpenState,
  change: Change,
): Promise<CanaryRow | null> {
  const row = await findInState(transaction, id, from);
  if (!row) return null;
  if (from === 'running') return moveCanary(transaction, id, from, 'rolled_back', change);
  const { policy_id, baseline_id } = row;
  const [before] = await transaction
    .select()
    .from(activations)
    .where(eq(activations.policy_id, baseline_id))
    .orderBy(desc(activations.id))
    .limit(1);
  const activation = {
    policy_id: baseline_id,
    reason: `rollback from ${policy_id}: ${change.reason}`,
    restores_id: before!.id,
  };
  await insertActivation(transaction, policy_id, activation, { actor: change.actor }, change.reason);
  return findCanary(transaction, id);
}

/** Ends an undecided canary: the active policy stays. */
export async function expireCanary(transaction: Database, id: string, change: Change): Promise<CanaryRow | null> {
  const row = await findInState(transaction, id, 'running');
  return row && moveCanary(transaction, id, 'running', 'expired', change);
}

/** Ends the watch of a policy that is not worse. */
export async function keepPolicy(transaction: Database, id: string, change: Change): Promise<CanaryRow | null> {
  const row = await findInState(transaction, id, 'watching');
  return row && moveCanary(transaction, id, 'watching', 'kept', change);
}

/** Ends a canary for an operator, in whichever state it is: the active policy stays, also if it is the one that is watched. */
export async function cancelCanary(transaction: Database, id: string, change: Change): Promise<CanaryRow | null> {
  await lockActivations(transaction);
  return (
    (await moveCanary(transaction, id, 'running', 'cancelled', change)) ??
    (await moveCanary(transaction, id, 'watching', 'kept', change))
  );
}

/** Ends a canary beside which another policy became active: an earlier version of Attune knows no canaries. */
export async function abandonCanary(
  transaction: Database,
  { id, state }: CanaryRow,
  change: Change,
): Promise<CanaryRow | null> {
  await lockActivations(transaction);
  const row = await findCanary(transaction, id);
  if (row?.state !== state || (await isInPlace(transaction, row))) return null;
  return state === 'running'
    ? moveCanary(transaction, id, state, 'cancelled', change)
    : moveCanary(transaction, id, 'watching', 'kept', change);
}

/** Whether the policy is active that is while a canary is in this state. */
export async function isInPlace(db: Database, { state, policy_id, baseline_id }: CanaryRow): Promise<boolean> {
  return (await getActivePolicyId(db)) === (state === 'running' ? baseline_id : policy_id);
}

/** Throws a 404 for an unknown id. */
export async function getCanary(db: Database, id: string): Promise<CanaryRow> {
  const row = await findCanary(db, id);
  if (row) return row;
  throw new AttuneError(`there is no canary ${id}; GET /v1/canaries or \`attune canary list\` lists them`, {
    status: 404,
    code: 'not_found',
    param: 'id',
  });
}

async function findCanary(db: Database, id: string): Promise<CanaryRow | null> {
  const [row] = await db.select().from(canaries).where(eq(canaries.id, id));
  return row ?? null;
}

/** With the lock that keeps it there. */
async function findInState(transaction: Database, id: string, state: OpenState): Promise<CanaryRow | null> {
  await lockActivations(transaction);
  const row = await findCanary(transaction, id);
  return row?.state === state && (await isInPlace(transaction, row)) ? row : null;
}

function conflict(message: string, code: string): AttuneError {
  return new AttuneError(message, { status: 409, code, param: 'id', retry: false });
}
