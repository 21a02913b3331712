// What an embed token may see and vote on: the comparison that it names, or those whose two responses were generated for its user;
// and of these not what a product tells its policy.

import { and, eq, inArray } from 'drizzle-orm';
import type { Context } from 'hono';
import type { Prompt } from '../../shared/chat-message.ts';
import { completions, generations } from '../../shared/database/schema.ts';
import { notFound } from '../http/errors.ts';
import type { Transaction } from '../http/idempotency.ts';
import type { ComparisonRow } from './generate-sides.ts';

/** Throws the 404 of an unknown id if the request has an embed token, and it is not for this comparison. */
export async function assertEmbeds(
  db: Pick<Transaction, 'select'>,
  context: Context,
  { id, a_generation_id, b_generation_id }: ComparisonRow,
  param: string,
): Promise<void> {
  const embedding = context.get('identity')?.embedding;
  if (!embedding) return;
  const { comparison, user } = embedding;
  const isNamed = comparison === null ? await isFor(db, user!, [a_generation_id, b_generation_id]) : comparison === id;
  if (!isNamed) throw notFound('comparison', id, param);
}

async function isFor(db: Pick<Transaction, 'select'>, user: string, sides: string[]): Promise<boolean> {
  const own = await db
    .select({ id: generations.id })
    .from(generations)
    .innerJoin(completions, eq(completions.id, generations.completion_id))
    .where(and(inArray(generations.id, sides), eq(completions.user, user)));
  return own.length === sides.length;
}

const INSTRUCTIONS: ReadonlySet<string> = new Set(['system', 'developer']);

/** The response as the reader of a page may see it: without the instructions in its prompt. Any other caller gets all of it. */
export function hideInstructions<T extends { prompt: Prompt }>(context: Context, response: T): T {
  if (context.get('identity')?.kind !== 'embed' || typeof response.prompt === 'string') return response;
  return { ...response, prompt: response.prompt.filter(({ role }) => !INSTRUCTIONS.has(role)) };
}
