// Rewards: packages that score responses, made by rounds of the method `reward`.

import { z } from '@hono/zod-openapi';
import { eq } from 'drizzle-orm';
import { policies } from '../../shared/database/schema.ts';
import * as registry from '../../shared/store/registry.ts';
import { defineOperation } from '../http/operation.ts';
import { listOperation, toUnixSeconds } from '../http/resource.ts';

const reward = z
  .object({
    id: z.string(),
    object: z.literal('reward'),
    created: z.number(),
    name: z.string(),
    parent: z.string().nullable().openapi({ description: 'the policy whose body it was trained from' }),
    round: z.string().nullable(),
    manifest: z.record(z.string(), z.unknown()),
  })
  .openapi('Reward');

const toResponse = (row: registry.PolicyRow): z.output<typeof reward> => ({
  id: row.id,
  object: 'reward',
  created: toUnixSeconds(row.created_at),
  name: row.name,
  parent: row.parent_id,
  round: row.round_id,
  manifest: row.manifest,
});

export const listRewards = listOperation({
  summary: 'Lists rewards',
  kind: 'reward',
  table: policies,
  filter: eq(policies.kind, 'reward'),
  item: reward,
  toResponses: (rows) => rows.map(toResponse),
});

export const getReward = defineOperation({
  scopes: ['read'],
  summary: 'One reward',
  response: reward,
  handler: async ({ ports: { db }, param }) => toResponse(await registry.getReward(db, param('id'))),
});
