// The policy of a request that names none, or the alias of the active one: while a canary runs, the candidate or the active
// policy by its assignment. Both are recorded with the canary, so that they can be compared.

import type { Context } from 'hono';
import { ACTIVE_ALIAS, type LoadedPolicy } from '../engine/inference.ts';
import { getCallerId, getTenant } from '../middleware/auth.ts';
import type { Ports, RunningCanary } from '../ports.ts';
import { type AssignedBody, assign } from './assign.ts';

export async function selectPolicy(
  { inference, getCanary }: Pick<Ports, 'inference' | 'getCanary'>,
  context: Context,
  body: AssignedBody & { model?: string | undefined },
): Promise<{ policy: LoadedPolicy; canaryId: string | null }> {
  const canary = isActiveAlias(body.model) ? await getCanary() : null;
  const assigned = canary ? findAssigned(canary, context, body) : body.model;
  return { policy: await inference.getPolicy(assigned), canaryId: canary?.id ?? null };
}

/** The candidate; undefined stands for the active policy. */
export function findAssigned(canary: RunningCanary, context: Context, body: AssignedBody): string | undefined {
  const caller = { tenant: getTenant(context), key: getCallerId(context) };
  return assign(canary, caller, body) === 'candidate' ? canary.policyId : undefined;
}

export function isActiveAlias(model: string | undefined): boolean {
  return model === undefined || model === ACTIVE_ALIAS;
}
