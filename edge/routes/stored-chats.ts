// Stored chat completions with all their choices: listed, and by id. The sides of comparisons are not among them: a stored
// completion names its policy, which raters must not see before they vote.

import { and, asc, eq, inArray } from 'drizzle-orm';
import { completions, generations, isChat } from '../../shared/database/schema.ts';
import { notFound } from '../http/errors.ts';
import { defineOperation } from '../http/operation.ts';
import { isVisible } from '../http/pagination.ts';
import { listOperation } from '../http/resource.ts';
import { getReadableTenant } from '../middleware/auth.ts';
import type { Ports } from '../ports.ts';
import { chatCompletion, toChatCompletion } from './chat.ts';

export const KIND = 'stored chat completion';

async function addChoices(rows: (typeof completions.$inferSelect)[], { db }: Ports) {
  const choices = await db
    .select()
    .from(generations)
    .where(
      inArray(
        generations.completion_id,
        rows.map((row) => row.id),
      ),
    )
    .orderBy(asc(generations.choice));
  const choicesById = Map.groupBy(choices, (choice) => choice.completion_id);
  return rows.map((row) => toChatCompletion(row, choicesById.get(row.id)!));
}

export const listChatCompletions = listOperation({
  summary: 'Lists stored chat completions',
  kind: KIND,
  table: completions,
  filter: isChat,
  item: chatCompletion,
  toResponses: addChoices,
});

export const getChatCompletion = defineOperation({
  scopes: ['read'],
  summary: 'One stored chat completion',
  response: chatCompletion,
  async handler({ ports, context, param }) {
    const rows = await ports.db
      .select()
      .from(completions)
      .where(and(eq(completions.id, param('id')), isChat, isVisible(completions, getReadableTenant(context))));
    if (rows.length === 0) throw notFound(KIND, param('id'));
    return (await addChoices(rows, ports))[0];
  },
});
