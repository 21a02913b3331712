// Policies with their manifests, and the two operations that change which one is active: promote and rollback.

import { z } from '@hono/zod-openapi';
import { desc, eq, inArray, sql } from 'drizzle-orm';
import { recordAudit } from '../../shared/access/audit.ts';
import type { Database } from '../../shared/database/connect.ts';
import { activations, canaries, policies } from '../../shared/database/schema.ts';
import { readLineage } from '../../shared/rounds/policy-lineage.ts';
import * as registry from '../../shared/store/registry.ts';
import { defineOperation } from '../http/operation.ts';
import { listOperation, toUnixSeconds } from '../http/resource.ts';
import { getCallerId, getReadableTenant } from '../middleware/auth.ts';

const policy = z
  .object({
    id: z.string(),
    object: z.literal('policy'),
    created: z.number(),
    name: z.string(),
    active: z.boolean(),
    state: z
      .enum(['active', 'canary', 'rolled_back', 'idle'])
      .openapi({ description: 'rolled_back: when it was last tried, and not active since then' }),
    bytes: z.number().openapi({ description: 'of its package' }),
    parent: z.string().nullable(),
    reference: z.string().nullable(),
    round: z.string().nullable(),
    manifest: z.record(z.string(), z.unknown()),
  })
  .openapi('Policy');

/** `states`: as listStates says, of policies that are not active. */
const toResponse = (
  row: registry.PolicyRow,
  activeId: string | null,
  states: Map<string, PolicyState> = new Map(),
): z.output<typeof policy> => ({
  id: row.id,
  object: 'policy',
  created: toUnixSeconds(row.created_at),
  name: row.name,
  active: row.id === activeId,
  state: row.id === activeId ? 'active' : (states.get(row.id) ?? 'idle'),
  bytes: countBytes(row.manifest),
  parent: row.parent_id,
  reference: row.reference_id,
  round: row.round_id,
  manifest: row.manifest,
});

/** Of a manifest that a newer version may have written. */
function countBytes({ files }: registry.PolicyRow['manifest']): number {
  const sizes = Object.values((files ?? {}) as Record<string, { bytes?: unknown }>);
  return sizes.reduce((total, { bytes }) => total + (typeof bytes === 'number' ? bytes : 0), 0);
}

type PolicyState = z.output<typeof policy>['state'];

/** By the last canary of each policy, unless it became active after that. */
async function listStates(db: Database, rows: registry.PolicyRow[]): Promise<Map<string, PolicyState>> {
  const ids = rows.map(({ id }) => id);
  const last = await db
    .selectDistinctOn([canaries.policy_id], {
      policy: canaries.policy_id,
      state: canaries.state,
      wasActive: WAS_ACTIVE,
    })
    .from(canaries)
    .where(inArray(canaries.policy_id, ids))
    .orderBy(canaries.policy_id, desc(canaries.created_at), desc(canaries.id));
  return new Map(
    last.flatMap(({ policy, state, wasActive }): [string, PolicyState][] => {
      if (state === 'running') return [[policy, 'canary']];
      return state === 'rolled_back' && !wasActive ? [[policy, 'rolled_back']] : [];
    }),
  );
}

const WAS_ACTIVE = sql<boolean>`exists (select 1 from ${activations}
  where ${activations}.policy_id = ${canaries}.policy_id and ${activations}.created_at > ${canaries}.ended_at)`;

export const listPolicies = listOperation({
  summary: 'Lists policies',
  kind: 'policy',
  table: policies,
  filter: eq(policies.kind, 'policy'),
  item: policy,
  async toResponses(rows, { db }) {
    const activeId = await registry.getActivePolicyId(db);
    const states = await listStates(db, rows);
    return rows.map((row) => toResponse(row, activeId, states));
  },
});

export const getPolicy = defineOperation({
  scopes: ['read'],
  summary: 'One policy',
  response: policy,
  async handler({ ports: { db }, param }) {
    const row = await registry.getPolicy(db, param('id'));
    return toResponse(row, await registry.getActivePolicyId(db), await listStates(db, [row]));
  },
});

const lineageStep = z.object({
  policy: z.string(),
  name: z.string(),
  created: z.number(),
  round: z.string().nullable().openapi({ description: 'null if it was imported' }),
  learned: z.int().openapi({ description: 'new pairs that it was trained on' }),
  replayed: z.int().openapi({ description: 'pairs of earlier rounds among those it was trained on' }),
  held_out: z.int().openapi({ description: 'pairs that it was measured on, and not trained' }),
  sources: z.record(z.string(), z.int()).openapi({ description: 'trained pairs by source' }),
  raters: z
    .array(z.object({ rater: z.string(), pairs: z.int() }))
    .openapi({ description: 'the twenty of your tenant with the most trained pairs' }),
  rater_count: z.int(),
});

export const getLineage = defineOperation({
  scopes: ['read'],
  summary: 'What a policy learned from: itself and its ancestors, each with its pairs by source and rater',
  query: z.strictObject({ limit: z.coerce.number().int().min(1).max(100).default(20) }),
  response: z.object({
    object: z.literal('lineage'),
    policy: z.string(),
    data: z.array(lineageStep),
    next: z.string().nullable().openapi({ description: 'the ancestor after these: ask for its lineage' }),
  }),
  async handler({ ports: { db }, context, param, query }) {
    const { id } = await registry.getPolicy(db, param('id'));
    const { steps, next } = await readLineage(db, id, query.limit, getReadableTenant(context));
    const data = steps.map(({ createdAt, pairs, raterCount, ...step }) => ({
      ...step,
      created: toUnixSeconds(createdAt),
      learned: pairs.learned,
      replayed: pairs.replayed,
      held_out: pairs.heldOut,
      rater_count: raterCount,
    }));
    return { object: 'lineage' as const, policy: id, data, next };
  },
});

export const promotePolicy = defineOperation({
  scopes: ['operate'],
  summary: 'Makes a policy the active one',
  needsPolicy: 'path',
  idempotent: true,
  body: z
    .strictObject({
      canary: z.string().optional().openapi({ description: 'its canary, which has to run still: otherwise a 409' }),
    })
    .default({}),
  response: policy,
  async handler({ ports: { db, inference, settings }, context, commit, param, body: { canary } }) {
    const row = await registry.getPolicy(db, param('id'));
    const actor = getCallerId(context);
    // Loaded and warmed up first, so that a package that cannot serve never becomes the active policy.
    await inference.getPolicy(row.id);
    const response = await commit(async (transaction) => {
      await registry.activatePolicy(transaction, row.id, 'promoted', {
        actor,
        watchHours: settings.WATCH_HOURS,
        canary,
      });
      await recordAudit(transaction, { actor, action: 'policy.promoted', target: row.id });
      return toResponse(row, row.id);
    });
    await inference.activate(row.id);
    return response;
  },
});

export const rollBackPolicy = defineOperation({
  scopes: ['operate'],
  summary: 'Makes the previous policy the active one',
  needsPolicy: 'previous',
  idempotent: true,
  body: z
    .strictObject({
      from: z.string().optional().openapi({ description: 'the policy that has to be active still: otherwise a 409' }),
    })
    .default({}),
  response: policy,
  async handler({ ports: { db, inference }, context, commit, body: { from } }) {
    const target = await registry.findRollbackTarget(db, from);
    const id = target.previous.policy_id;
    const actor = getCallerId(context);
    await inference.getPolicy(id);
    const response = await commit(async (transaction) => {
      await registry.rollBackPolicy(transaction, target, { actor });
      await recordAudit(transaction, { actor, action: 'policy.rolled_back', target: id });
      return toResponse(await registry.getPolicy(transaction, id), id);
    });
    await inference.activate(id);
    return response;
  },
});
