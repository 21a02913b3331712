// The chat completions that were stored, with all their choices: listed, and fetched by id.

import type { OpenAPIHono } from '@hono/zod-openapi';
import { and, asc, eq, inArray, sql } from 'drizzle-orm';
import { generations } from '../../shared/database/schema.ts';
import { AttuneError } from '../../shared/error.ts';
import { addOperation } from '../http/operation.ts';
import { listQuery, listSchema, selectPage, toPage } from '../http/pagination.ts';
import type { Ports } from '../ports.ts';
import { chatCompletion, toChatCompletion } from './chat.ts';

/** A side of a comparison names its policy, so it stays hidden until somebody has voted. */
const isSeen = sql`not exists (
  select 1 from comparisons where ${generations.id} in (a_generation_id, b_generation_id)
  and not exists (select 1 from preferences where comparison_id = comparisons.id))`;

export function addStoredChats(app: OpenAPIHono, { db }: Ports): void {
  const selectChoices = (completions: string[]) =>
    db
      .select()
      .from(generations)
      .where(and(inArray(generations.completion_id, completions), eq(generations.kind, 'chat'), isSeen))
      .orderBy(asc(generations.choice));

  addOperation(
    app,
    {
      method: 'get',
      path: '/v1/chat/completions',
      tag: 'Generate',
      summary: 'Lists stored chat completions',
      query: listQuery,
      response: listSchema(chatCompletion),
    },
    async ({ query }) => {
      const firsts = await selectPage(
        db,
        generations,
        query,
        and(eq(generations.kind, 'chat'), eq(generations.choice, 0), isSeen),
      );
      const rows = await selectChoices(firsts.map((row) => row.id));
      const choices = Map.groupBy(rows, (row) => row.completion_id);
      return toPage(firsts, query.limit, (row) => toChatCompletion(choices.get(row.id)!));
    },
  );

  addOperation(
    app,
    {
      method: 'get',
      path: '/v1/chat/completions/{id}',
      tag: 'Generate',
      summary: 'A stored chat completion',
      response: chatCompletion,
    },
    async ({ param }) => {
      const rows = await selectChoices([param('id')]);
      if (rows.length === 0)
        throw new AttuneError(`there is no stored completion ${param('id')}`, {
          status: 404,
          param: 'id',
          code: 'not_found',
        });
      return toChatCompletion(rows);
    },
  );
}
