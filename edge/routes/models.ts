// Every published policy as one of OpenAI's models, and `attune`, an alias of the active policy, whose `created` is that of
// the newest policy.

import { z } from '@hono/zod-openapi';
import { desc, eq } from 'drizzle-orm';
import { policies } from '../../shared/database/schema.ts';
import { unknownPolicy } from '../../shared/package/manifest.ts';
import { getPolicy } from '../../shared/store/registry.ts';
import { ACTIVE_ALIAS } from '../engine/inference.ts';
import { defineOperation } from '../http/operation.ts';
import { toUnixSeconds } from '../http/resource.ts';
import type { Ports } from '../ports.ts';

const model = z
  .object({ id: z.string(), object: z.literal('model'), created: z.number(), owned_by: z.string() })
  .openapi('Model');

const toResponse = (id: string, created: Date): z.output<typeof model> => ({
  id,
  object: 'model',
  created: toUnixSeconds(created),
  owned_by: 'attune',
});

const selectNewestFirst = (db: Ports['db']) =>
  db.select().from(policies).where(eq(policies.kind, 'policy')).orderBy(desc(policies.id));

export const listModels = defineOperation({
  scopes: ['generate', 'read'],
  summary: 'Lists the policies that a request can name as its model',
  response: z.object({ object: z.literal('list'), data: z.array(model) }),
  async handler({ ports }) {
    const rows = await selectNewestFirst(ports.db);
    const data = rows.map((row) => toResponse(row.id, row.created_at));
    return { object: 'list', data: rows[0] ? [toResponse(ACTIVE_ALIAS, rows[0].created_at), ...data] : data };
  },
});

export const getModel = defineOperation({
  scopes: ['generate', 'read'],
  summary: 'One policy as a model',
  response: model,
  async handler({ ports, param }) {
    const id = param('model');
    const row = id === ACTIVE_ALIAS ? (await selectNewestFirst(ports.db).limit(1))[0] : await getPolicy(ports.db, id);
    if (!row) throw unknownPolicy(id);
    return toResponse(id, row.created_at);
  },
});
