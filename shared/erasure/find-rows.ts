// Finds what an erasure has to blank: the subject's own rows, and those that have copies of their texts. Completions and
// comparisons depend on each other, since a comparison shows two generations, which were made for it and for nothing else;
// preferences and feedback depend on both. A thousand ids to a query, so that none of them runs into a client's time limit.
import { and, asc, gt, inArray, isNull, or, type SQL } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { comparisons, completions, feedback, generations, preferences } from '../database/schema.ts';

type Table = typeof completions | typeof comparisons | typeof preferences | typeof feedback;

export const CHUNK = 1000;

/** Ids of completions with their generations, and of comparisons. */
export type FoundTexts = { completions: string[]; generations: string[]; comparisons: string[] };

export async function findTexts(
  db: Database,
  own: { completions?: SQL | undefined; comparisons?: SQL | undefined },
): Promise<FoundTexts> {
  const ofSubject = await listGenerations(db, await listIds(db, completions, own.completions));
  const shown = (ids: string[]) =>
    or(inArray(comparisons.a_generation_id, ids), inArray(comparisons.b_generation_id, ids));
  const found = new Set(await listIds(db, comparisons, own.comparisons));
  for (const id of await listIdsOf(
    db,
    comparisons,
    ofSubject.map(({ id }) => id),
    shown,
  ))
    found.add(id);

  const sides: string[] = [];
  for (const chunk of toChunks([...found])) {
    const rows = await db
      .select({ a: comparisons.a_generation_id, b: comparisons.b_generation_id })
      .from(comparisons)
      .where(inArray(comparisons.id, chunk));
    sides.push(...rows.flatMap(({ a, b }) => [a, b]));
  }
  const completionIds = new Set(ofSubject.map(({ completion }) => completion));
  for (const chunk of toChunks(sides)) {
    const rows = await db
      .select({ completion: generations.completion_id })
      .from(generations)
      .where(inArray(generations.id, chunk));
    for (const { completion } of rows) completionIds.add(completion);
  }
  const all = await listGenerations(db, [...completionIds]);
  return {
    completions: [...completionIds].sort(),
    generations: all.map(({ id }) => id),
    comparisons: [...found].sort(),
  };
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
