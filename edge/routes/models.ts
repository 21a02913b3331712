// GET /v1/models: every published policy, and `attune`, which stands for the active one.

import { type OpenAPIHono, z } from '@hono/zod-openapi';
import { desc, eq } from 'drizzle-orm';
import { policies } from '../../shared/database/schema.ts';
import { AttuneError } from '../../shared/error.ts';
import { addOperation } from '../http/operation.ts';
import type { Ports } from '../ports.ts';

const model = z
  .object({ id: z.string(), object: z.literal('model'), created: z.number(), owned_by: z.string() })
  .openapi('Model');

/** Stands for the active policy, and is as old as the newest. */
const ALIAS = 'attune';

const show = (id: string, created: Date): z.output<typeof model> => ({
  id,
  object: 'model',
  created: Math.floor(created.getTime() / 1000),
  owned_by: 'attune',
});

export function addModels(app: OpenAPIHono, { db }: Ports): void {
  addOperation(
    app,
    {
      method: 'get',
      path: '/v1/models',
      tag: 'Policies',
      summary: 'Every policy that can be asked for by id',
      response: z.object({ object: z.literal('list'), data: z.array(model) }),
    },
    async () => {
      const rows = await db.select().from(policies).orderBy(desc(policies.id));
      const data = rows.map((row) => show(row.id, row.created_at));
      return { object: 'list', data: rows[0] ? [show(ALIAS, rows[0].created_at), ...data] : data };
    },
  );

  addOperation(
    app,
    { method: 'get', path: '/v1/models/{model}', tag: 'Policies', summary: 'One policy as a model', response: model },
    async ({ param }) => {
      const isAlias = param('model') === ALIAS;
      const [row] = await db
        .select()
        .from(policies)
        .where(isAlias ? undefined : eq(policies.id, param('model')))
        .orderBy(desc(policies.id))
        .limit(1);
      if (!row)
        throw new AttuneError(`there is no policy ${param('model')}`, {
          status: 404,
          param: 'model',
          code: 'model_not_found',
        });
      return show(isAlias ? ALIAS : row.id, row.created_at);
    },
  );
}
