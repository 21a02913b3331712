// Canaries: a policy tried on a share of the traffic, compared blind with the active one, and watched once it is active.
// shared/canary/ decides; operators start one, or end it.

import { z } from '@hono/zod-openapi';
import pMap from 'p-map';
import { cancelCanary as cancel, getCanary as findCanary, startCanary as start } from '../../shared/canary/canaries.ts';
import { describeCanary, listEvidence } from '../../shared/canary/describe.ts';
import { canaries } from '../../shared/database/schema.ts';
import { AttuneError } from '../../shared/error.ts';
import { getPolicy } from '../../shared/store/registry.ts';
import { defineOperation } from '../http/operation.ts';
import { getOperation, listOperation } from '../http/resource.ts';
import { getCallerId, getReadableTenant } from '../middleware/auth.ts';
import type { Ports } from '../ports.ts';
import { type CanaryRow, canary, toCanary } from './canary-response.ts';

const evidencePoint = z.object({
  votes: z.int(),
  at: z.number(),
  wins: z.int(),
  losses: z.int(),
  better: z.number(),
  worse: z.number(),
});

/** Each reads its votes and its minutes. */
const DESCRIBED_AT_ONCE = 4;

const resource = {
  kind: 'canary',
  table: canaries,
  item: canary,
  toResponses: (rows: CanaryRow[], { db, settings }: Ports, readable: string | null) =>
    pMap(rows, async (row) => toCanary(row, await describeCanary(db, settings, row), readable), {
      concurrency: DESCRIBED_AT_ONCE,
    }),
};

export const listCanaries = listOperation({ summary: 'Lists canaries', ...resource });
export const getCanary = getOperation({ summary: 'One canary: votes, evidence and guards', ...resource });

export const getCanaryEvidence = defineOperation({
  scopes: ['read'],
  summary: 'The evidence of a canary after each vote that counts, oldest first',
  response: z.object({
    object: z.literal('canary_evidence'),
    canary: z.string(),
    threshold: z.number(),
    data: z.array(evidencePoint),
  }),
  async handler({ ports: { db, settings }, param }) {
    const row = await findCanary(db, param('id'));
    const { evidence } = await describeCanary(db, settings, row);
    const data = await listEvidence(db, settings, row);
    return { object: 'canary_evidence' as const, canary: row.id, threshold: evidence.threshold, data };
  },
});

export const startCanary = defineOperation({
  scopes: ['operate'],
  summary: 'Makes a policy a canary: it gets a share of the completions, and comparisons set it against the active one',
  needsPolicy: 'path',
  idempotent: true,
  body: z.strictObject({
    share: z.number().gt(0).max(0.5).optional().openapi({ description: 'of the completions; default: CANARY_SHARE' }),
  }),
  response: canary,
  async handler({ ports, context, commit, param, body }) {
    const { db, inference, settings } = ports;
    const { id } = await getPolicy(db, param('id'));
    const share = body.share ?? settings.CANARY_SHARE;
    // Loaded and warmed up first, so that a package that cannot serve never becomes a canary.
    await inference.getPolicy(id);
    const response = await commit(async (transaction) => {
      const row = await start(transaction, { policyId: id, share, actor: getCallerId(context) });
      return toCanary(row, await describeCanary(transaction, settings, row), getReadableTenant(context));
    });
    await ports.sendWebhooks();
    return response;
  },
});

export const cancelCanary = defineOperation({
  scopes: ['operate'],
  summary: 'Ends a canary: the active policy gets all completions again; or the watch of a policy, which stays active',
  idempotent: true,
  response: canary,
  async handler({ ports, context, commit, param }) {
    const { settings } = ports;
    const id = param('id');
    const response = await commit(async (transaction) => {
      const { state } = await findCanary(transaction, id);
      const row = await cancel(transaction, id, { actor: getCallerId(context), reason: 'ended by an operator' });
      if (!row)
        throw new AttuneError(`${id} has ended already (${state}); a canary is ended while it runs or is watched`, {
          status: 409,
          param: 'id',
          code: 'canary_ended',
          retry: false,
        });
      return toCanary(row, await describeCanary(transaction, settings, row), getReadableTenant(context));
    });
    await ports.sendWebhooks();
    return response;
  },
});
