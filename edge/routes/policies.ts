// Policies with their manifests, and the two moves that change which one answers: promote and rollback.

import { type OpenAPIHono, z } from '@hono/zod-openapi';
import { policies } from '../../shared/database/schema.ts';
import {
  activatePolicy,
  getActivePolicyId,
  getPolicy,
  type PolicyRow,
  rollbackPolicy,
} from '../../shared/store/registry.ts';
import { addOperation } from '../http/operation.ts';
import { listQuery, listSchema, selectPage, toPage } from '../http/pagination.ts';
import type { Ports } from '../ports.ts';

const policy = z
  .object({
    id: z.string(),
    object: z.literal('policy'),
    created: z.number(),
    name: z.string(),
    active: z.boolean(),
    parent: z.string().nullable(),
    reference: z.string().nullable(),
    round: z.string().nullable(),
    manifest: z.record(z.string(), z.unknown()),
  })
  .openapi('Policy');

const show = (row: PolicyRow, activeId: string | null): z.output<typeof policy> => ({
  id: row.id,
  object: 'policy',
  created: Math.floor(row.created_at.getTime() / 1000),
  name: row.name,
  active: row.id === activeId,
  parent: row.parent_id,
  reference: row.reference_id,
  round: row.round_id,
  manifest: row.manifest,
});

export function addPolicies(app: OpenAPIHono, { db, inference }: Ports): void {
  addOperation(
    app,
    {
      method: 'get',
      path: '/v1/policies',
      tag: 'Policies',
      summary: 'Lists policies',
      query: listQuery,
      response: listSchema(policy),
    },
    async ({ query }) => {
      const rows = await selectPage(db, policies, query);
      const activeId = await getActivePolicyId(db);
      return toPage(rows, query.limit, (row) => show(row, activeId));
    },
  );

  addOperation(
    app,
    { method: 'get', path: '/v1/policies/{id}', tag: 'Policies', summary: 'One policy', response: policy },
    async ({ param }) => show(await getPolicy(db, param('id')), await getActivePolicyId(db)),
  );

  addOperation(
    app,
    {
      method: 'post',
      path: '/v1/policies/{id}/promote',
      tag: 'Policies',
      summary: 'Makes a policy the active one',
      response: policy,
    },
    async ({ param }) => {
      const row = await getPolicy(db, param('id'));
      // Loaded and warmed here first: a package that cannot serve never becomes the active one.
      await inference.getPolicy(row.id);
      await activatePolicy(db, row.id, 'promoted');
      await inference.activate(row.id);
      return show(row, row.id);
    },
  );

  addOperation(
    app,
    {
      method: 'post',
      path: '/v1/policies/rollback',
      tag: 'Policies',
      summary: 'Makes the previous policy the active one',
      response: policy,
    },
    async () => {
      const id = await rollbackPolicy(db, (previous) => inference.getPolicy(previous));
      await inference.activate(id);
      return show(await getPolicy(db, id), id);
    },
  );
}
