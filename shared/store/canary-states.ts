// The states of a canary: running -> watching -> kept | rolled_back, and running -> rolled_back | expired | cancelled. A
// transition is one conditional update, with its audit line, webhook event, NOTIFY and the stage of the candidate's round in
// the same transaction, which holds the lock on activations.

import { and, eq, inArray, sql } from 'drizzle-orm';
import { type AuditAction, recordAudit } from '../access/audit.ts';
import { notifyChange } from '../database/channels.ts';
import type { Database } from '../database/connect.ts';
import type { RoundStage } from '../database/round-types.ts';
import {
  activations,
  type CanaryState,
  canaries,
  policies,
  round_events,
  rounds,
  type WebhookType,
} from '../database/schema.ts';
import { newId } from '../id.ts';
import { writeEvent } from '../webhooks/event.ts';

export type CanaryRow = typeof canaries.$inferSelect;

export type OpenState = Extract<CanaryState, 'running' | 'watching'>;
const OPEN_STATES: OpenState[] = ['running', 'watching'];

/** Who changes it, as the audit log names them, and why. */
export type Change = { actor: string; reason: string };

type Effect = { action: AuditAction; event: WebhookType; stage: RoundStage | null };

const PROMOTED: Effect = { action: 'canary.promoted', event: 'canary.promoted', stage: 'active' };
const ROLLED_BACK: Effect = { action: 'canary.rolled_back', event: 'policy.rolled_back', stage: 'rolled_back' };

const EFFECTS: Record<OpenState, Partial<Record<CanaryState, Effect>>> = {
  running: {
    watching: PROMOTED,
    // Promoted where nothing is watched.
    kept: PROMOTED,
    rolled_back: ROLLED_BACK,
    expired: { action: 'canary.expired', event: 'canary.ended', stage: 'published' },
    cancelled: { action: 'canary.cancelled', event: 'canary.ended', stage: 'published' },
  },
  watching: {
    kept: { action: 'canary.kept', event: 'canary.ended', stage: null },
    rolled_back: ROLLED_BACK,
  },
};

/** Until the transaction ends no other one changes the active policy, or the state of a canary. */
export async function lockActivations(transaction: Database): Promise<void> {
  await transaction.execute(sql`lock table ${activations} in share row exclusive mode`);
}

/** Null if it is in another state by now. */
export async function moveCanary(
  transaction: Database,
  id: string,
  from: OpenState,
  to: CanaryState,
  { actor, reason }: Change,
  /** of its round, instead of the usual one */
  stage: RoundStage | null = EFFECTS[from][to]?.stage ?? null,
): Promise<CanaryRow | null> {
  const effect = EFFECTS[from][to];
  if (!effect) throw new Error(`internal: a canary that is ${from} never becomes ${to}`);
  const isPromotion = effect === PROMOTED;
  const [row] = await transaction
    .update(canaries)
    .set({
      state: to,
      reason,
      ...(isPromotion ? { promoted_at: sql`now()` } : {}),
      ...(to === 'watching' ? {} : { ended_at: sql`now()` }),
    })
    .where(and(eq(canaries.id, id), eq(canaries.state, from)))
    .returning();
  if (!row) return null;
  const { policy_id: policy, baseline_id: baseline, round_id: round } = row;
  await recordAudit(transaction, { actor, action: effect.action, target: id, details: { policy, baseline, reason } });
  await writeEvent(transaction, effect.event, { id, policy, baseline, round, state: to, reason });
  if (round && stage) await moveRound(transaction, round, stage, reason);
  await notifyChange(transaction, id);
  return row;
}

/**
 * The round ended when its policy became a canary, or active; its stage says what became of the policy. Its reason stays what
 * the gate said: that of the canary is in the canary's row and in the event.
 */
async function moveRound(transaction: Database, id: string, stage: RoundStage, reason: string): Promise<void> {
  const hasPublished = and(eq(rounds.id, id), eq(rounds.status, 'succeeded'));
  const [round] = await transaction.update(rounds).set({ stage }).where(hasPublished).returning();
  if (!round) return;
  const level = stage === 'rolled_back' ? 'warn' : 'info';
  const data = { stage, status: round.status };
  await transaction.insert(round_events).values({ round_id: id, level, type: 'stage', message: reason, data });
  await notifyChange(transaction, id);
}

/** Those that run or are watched: at most one of each. */
export async function findOpenCanaries(db: Database): Promise<{ [State in OpenState]: CanaryRow | null }> {
  const rows = await db.select().from(canaries).where(inArray(canaries.state, OPEN_STATES));
  const find = (state: OpenState) => rows.find((row) => row.state === state) ?? null;
  return { running: find('running'), watching: find('watching') };
}

export type Activation = {
  /** the policy that was active; null: none */
  previous: string | null;
  next: string;
  isRollback: boolean;
  /** hours for which a new policy is watched; 0: it is not */
  watchHours: number;
} & Change;

/**
 * What an activation does to open canaries: it ends the watch of the policy that it replaces, promotes the candidate that it
 * activates or cancels its canary, and opens a watch for a new policy. One of the policy that is active already does nothing.
 */
export async function settleCanaries(transaction: Database, activation: Activation): Promise<void> {
  const { previous, next, isRollback, watchHours, actor, reason } = activation;
  if (previous === next) return;
  const { running, watching } = await findOpenCanaries(transaction);
  // Before another watch is opened, because there is one at a time.
  if (watching && watching.policy_id !== next)
    await (next === watching.baseline_id
      ? moveCanary(transaction, watching.id, 'watching', 'rolled_back', { actor, reason })
      : moveCanary(transaction, watching.id, 'watching', 'kept', { actor, reason: `${next} became active after it` }));
  const isWatched = watchHours > 0 && !isRollback;
  if (running?.policy_id === next && !isRollback)
    await moveCanary(transaction, running.id, 'running', isWatched ? 'watching' : 'kept', { actor, reason });
  else {
    if (running) await cancelBy(transaction, running, activation);
    // The policy that a watched one is compared with is not new, and one whose watch nothing has ended yet has its watch.
    const isKnown = watching !== null && [watching.policy_id, watching.baseline_id].includes(next);
    if (isWatched && previous !== null && !isKnown) await openWatch(transaction, previous, next, actor);
  }
}

/** What ended the other policy says nothing about the candidate, even if it is the one that takes its place again. */
function cancelBy(transaction: Database, { id, policy_id }: CanaryRow, { next, isRollback, actor }: Activation) {
  const reason = `${next} became active${isRollback ? ' again by a rollback' : ''}`;
  const stage = policy_id === next ? 'active' : undefined;
  return moveCanary(transaction, id, 'running', 'cancelled', { actor, reason }, stage);
}

async function openWatch(transaction: Database, baseline: string, policy: string, actor: string): Promise<void> {
  const id = newId('canary_');
  const [row] = await transaction.select({ round_id: policies.round_id }).from(policies).where(eq(policies.id, policy));
  await transaction.insert(canaries).values({
    id,
    policy_id: policy,
    baseline_id: baseline,
    round_id: row?.round_id ?? null,
    state: 'watching',
    share: 0,
    promoted_at: sql`now()`,
    created_by: actor,
  });
  await recordAudit(transaction, { actor, action: 'policy.watched', target: id, details: { policy, baseline } });
}
