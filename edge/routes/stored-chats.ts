// Stored chat completions with all their choices: listed, and by id.

import { and, asc, eq, inArray, sql } from 'drizzle-orm';
import { generations } from '../../shared/database/schema.ts';
import { notFound } from '../http/errors.ts';
import { defineOperation } from '../http/operation.ts';
import { listOperation } from '../http/resource.ts';
import type { Ports } from '../ports.ts';
import { chatCompletion, toChatCompletion } from './chat.ts';

/** A generation names its policy, so the sides of a comparison are hidden until its first vote. */
const isVisible = sql`not exists (
  select 1 from comparisons where ${generations.id} in (a_generation_id, b_generation_id)
  and not exists (select 1 from preferences where comparison_id = comparisons.id))`;

const selectChoices = (db: Ports['db'], completionIds: string[]) =>
  db
    .select()
    .from(generations)
    .where(and(inArray(generations.completion_id, completionIds), eq(generations.kind, 'chat'), isVisible))
    .orderBy(asc(generations.choice));

export const listChatCompletions = listOperation({
  summary: 'Lists stored chat completions',
  table: generations,
  filter: and(eq(generations.kind, 'chat'), eq(generations.choice, 0), isVisible)!,
  item: chatCompletion,
  async toResponses(firstChoices, { db }) {
    const ids = firstChoices.map((row) => row.id);
    const choices = Map.groupBy(await selectChoices(db, ids), (row) => row.completion_id);
    return ids.map((id) => toChatCompletion(choices.get(id)!));
  },
});

export const getChatCompletion = defineOperation({
  summary: 'One stored chat completion',
  response: chatCompletion,
  async handler({ ports, param }) {
    const choices = await selectChoices(ports.db, [param('id')]);
    if (choices.length === 0) throw notFound('stored chat completion', param('id'));
    return toChatCompletion(choices);
  },
});
