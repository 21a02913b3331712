// Writes the items of a queue with their responses and votes as JSON lines, oldest first, with one page in memory at a time.

import { and, asc, eq, gt, inArray, isNull } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { selectGenerations } from '../database/generations.ts';
import { PAGE_SIZE, readPages } from '../database/read-pages.ts';
import { comparisons, generations, queue_items } from '../database/schema.ts';
import { listVotes } from './item-votes.ts';
import type { ItemRow } from './lock-item.ts';

/** By pages of items: their votes are read together. */
export async function* exportItems(db: Database, queueId: string): AsyncGenerator<string> {
  let page: ItemRow[] = [];
  const items = readPages((after) =>
    db
      .select()
      .from(queue_items)
      .where(and(eq(queue_items.queue_id, queueId), isNull(queue_items.erased_at), gt(queue_items.id, after)))
      .orderBy(asc(queue_items.id))
      .limit(PAGE_SIZE),
  );
  for await (const item of items) {
    page.push(item);
    if (page.length < PAGE_SIZE) continue;
    yield* formatItems(db, page);
    page = [];
  }
  yield* formatItems(db, page);
}

async function* formatItems(db: Database, items: ItemRow[]): AsyncGenerator<string> {
  if (items.length === 0) return;
  const votes = Map.groupBy(await listVotes(db, items), ({ item }) => item);
  const sides = await findSides(db, items);
  for (const item of items) {
    const { id, kind, state, prompt, prompt_group: group, given, expected, explanation, reason } = item;
    const line = {
      id,
      kind,
      state,
      ...(typeof prompt === 'string' ? { prompt } : { messages: prompt }),
      group,
      ...(given === null ? {} : { given }),
      comparison: item.comparison_id,
      ...(item.comparison_id === null ? {} : sides.get(item.comparison_id)),
      ...(expected === null ? {} : { expected, explanation }),
      ...(reason === null ? {} : { reason }),
      reviews: item.reviews,
      skips: item.skips,
      votes: (votes.get(id) ?? []).map(({ item: _, created_at, ...vote }) => ({
        ...vote,
        created: Math.floor(created_at.getTime() / 1000),
      })),
    };
    yield `${JSON.stringify(line)}\n`;
  }
}

type ExportedSide = { text: string; finish_reason: string; generation: string; policy: string };

async function findSides(db: Database, items: ItemRow[]): Promise<Map<string, { a: ExportedSide; b: ExportedSide }>> {
  const ids = items.flatMap(({ comparison_id }) => comparison_id ?? []);
  if (ids.length === 0) return new Map();
  const shown = await db.select().from(comparisons).where(inArray(comparisons.id, ids));
  const sideIds = shown.flatMap(({ a_generation_id: a, b_generation_id: b }) => [a, b]);
  const rows = await selectGenerations(db).where(inArray(generations.id, sideIds));
  const byId = new Map(
    rows.map(({ id: generation, text, finish_reason, policy_id: policy }) => [
      generation,
      { text, finish_reason, generation, policy },
    ]),
  );
  return new Map(
    shown.map(({ id, a_generation_id, b_generation_id }) => [
      id,
      { a: byId.get(a_generation_id)!, b: byId.get(b_generation_id)! },
    ]),
  );
}
