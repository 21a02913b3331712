// Finds what an erasure has to blank: the subject's own rows, and those that have copies of their texts. Completions and
// comparisons depend on each other, since a comparison shows two generations, which were made for it and for nothing else;
// an item of a queue has a copy of the prompt that it was drawn from; preferences and feedback depend on all. A thousand ids to a query, so that none of them runs into a client's time limit.
import { and, asc, eq, gt, inArray, isNull, or, type SQL } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { comparisons, completions, feedback, generations, preferences, queue_items } from '../database/schema.ts';

type Table = typeof completions | typeof comparisons | typeof preferences | typeof feedback | typeof queue_items;

export const CHUNK = 1000;

/** Ids of completions with their generations, of comparisons, and of the items of queues. */
export type FoundTexts = { completions: string[]; generations: string[]; comparisons: string[]; items: string[] };

type Own = { completions?: SQL | undefined; comparisons?: SQL | undefined; items?: SQL | undefined };

/** `drawnFrom`: completions whose items are looked for only. */
export async function findTexts(db: Database, own: Own, drawnFrom: string[] = []): Promise<FoundTexts> {
  const found = { completions: new Set<string>(), comparisons: new Set<string>(), items: new Set<string>() };
  let fresh = {
    completions: await listIds(db, completions, own.completions),
    comparisons: await listIds(db, comparisons, own.comparisons),
    items: [...(await listIds(db, queue_items, own.items)), ...(await listDrawnItems(db, drawnFrom))],
  };
  // Until nothing more depends on what was found.
  while (Object.values(fresh).some((ids) => ids.length > 0)) {
    for (const id of fresh.completions) found.completions.add(id);
    for (const id of fresh.comparisons) found.comparisons.add(id);
    for (const id of fresh.items) found.items.add(id);
    const dependent = {
      completions: await listSides(db, fresh.comparisons),
      comparisons: [
        ...(await listComparisonsOf(db, fresh.completions)),
        ...(await listComparisonsOfItems(db, fresh.items)),
      ],
      items: [
        ...(await listDrawnItems(db, fresh.completions)),
        ...(await listIdsOf(db, queue_items, fresh.comparisons, (ids) => inArray(queue_items.comparison_id, ids))),
      ],
    };
    const isNew = (known: Set<string>) => (id: string) => !known.has(id);
    fresh = {
      completions: [...new Set(dependent.completions)].filter(isNew(found.completions)),
      comparisons: [...new Set(dependent.comparisons)].filter(isNew(found.comparisons)),
      items: [...new Set(dependent.items)].filter(isNew(found.items)),
    };
  }
  const completionIds = [...found.completions].sort();
  return {
    completions: completionIds,
    generations: (await listGenerations(db, completionIds)).map(({ id }) => id),
    comparisons: [...found.comparisons].sort(),
    items: [...found.items].sort(),
  };
}

/** The items that were drawn from these completions. */
function listDrawnItems(db: Database, completionIds: string[]): Promise<string[]> {
  return listIdsOf(db, queue_items, completionIds, (ids) => inArray(queue_items.drawn_from, ids));
}

/** The comparisons that show a choice of these completions. */
async function listComparisonsOf(db: Database, completionIds: string[]): Promise<string[]> {
  const shown = (ids: string[]) =>
    or(inArray(comparisons.a_generation_id, ids), inArray(comparisons.b_generation_id, ids));
  const choices = (await listGenerations(db, completionIds)).map(({ id }) => id);
  return listIdsOf(db, comparisons, choices, shown);
}

async function listComparisonsOfItems(db: Database, itemIds: string[]): Promise<string[]> {
  const found: string[] = [];
  for (const chunk of toChunks(itemIds)) {
    const rows = await db
      .select({ id: queue_items.comparison_id })
      .from(queue_items)
      .where(inArray(queue_items.id, chunk));
    found.push(...rows.flatMap(({ id }) => id ?? []));
  }
  return found;
}

/** The completions of both sides. */
async function listSides(db: Database, comparisonIds: string[]): Promise<string[]> {
  const found: string[] = [];
  for (const chunk of toChunks(comparisonIds)) {
    const isSide = or(eq(comparisons.a_generation_id, generations.id), eq(comparisons.b_generation_id, generations.id));
    const rows = await db
      .selectDistinct({ completion: generations.completion_id })
      .from(comparisons)
      .innerJoin(generations, isSide)
      .where(inArray(comparisons.id, chunk));
    found.push(...rows.map(({ completion }) => completion));
  }
  return found;
}

/** Those that are the subject's own, are about these texts, or are edits of such a vote; in the order of their ids. */
export async function findPreferences(db: Database, own: SQL | undefined, texts: FoundTexts): Promise<string[]> {
  const isAbout = (ids: string[]) =>
    or(inArray(preferences.chosen_generation_id, ids), inArray(preferences.rejected_generation_id, ids));
  const lists = [
    await listIds(db, preferences, own),
    await listIdsOf(db, preferences, texts.comparisons, (ids) => inArray(preferences.comparison_id, ids)),
    await listIdsOf(db, preferences, texts.generations, isAbout),
  ];
  const found = lists.flat();
  const edits = await listIdsOf(db, preferences, found, (ids) => inArray(preferences.edit_of, ids));
  return [...new Set([...found, ...edits])].sort();
}

/** That which is the subject's own, is about these texts, or both; in the order of its ids. */
export async function findFeedback(db: Database, own: SQL | undefined, texts: FoundTexts): Promise<string[]> {
  const lists = [
    await listIds(db, feedback, own),
    await listIdsOf(db, feedback, texts.generations, (ids) => inArray(feedback.generation_id, ids)),
  ];
  return [...new Set(lists.flat())].sort();
}

export function toChunks<T>(items: T[]): T[][] {
  return Array.from({ length: Math.ceil(items.length / CHUNK) }, (_, at) => items.slice(at * CHUNK, (at + 1) * CHUNK));
}

/** Of rows that were not erased. */
async function listIds(db: Database, table: Table, condition: SQL | undefined): Promise<string[]> {
  const ids: string[] = [];
  if (!condition) return ids;
  while (true) {
    const page = await db
      .select({ id: table.id })
      .from(table as typeof preferences)
      .where(and(condition, isNull(table.erased_at), gt(table.id, ids.at(-1) ?? '')))
      .orderBy(asc(table.id))
      .limit(CHUNK);
    for (const { id } of page) ids.push(id);
    if (page.length < CHUNK) return ids;
  }
}

async function listIdsOf(
  db: Database,
  table: Table,
  ids: string[],
  toCondition: (chunk: string[]) => SQL | undefined,
): Promise<string[]> {
  const found: string[] = [];
  for (const chunk of toChunks(ids)) for (const id of await listIds(db, table, toCondition(chunk))) found.push(id);
  return found;
}

async function listGenerations(db: Database, completionIds: string[]): Promise<{ id: string; completion: string }[]> {
  const found: { id: string; completion: string }[] = [];
  for (const chunk of toChunks(completionIds)) {
    const rows = await db
      .select({ id: generations.id, completion: generations.completion_id })
      .from(generations)
      .where(inArray(generations.completion_id, chunk));
    found.push(...rows);
  }
  return found;
}
