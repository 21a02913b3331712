// Blanks rows: what is left is their ids, digests, policies, choices and times. Rows are locked in the order of their ids, as
// whoever else locks several of them does.
import { and, asc, inArray, isNull, type SQL, sql } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { comparisons, completions, feedback, generations, preferences } from '../database/schema.ts';
import { type FoundTexts, toChunks } from './find-rows.ts';

/** A preference before it was blanked, as far as the statistics and its queue count it. */
export type BlankedPreference = Pick<
  typeof preferences.$inferSelect,
  'id' | 'tenant' | 'rater' | 'source' | 'choice' | 'reservation_id' | 'edit_of'
>;

/** A completion without choices cannot be found by the generations it has, so its own are read anew. */
export async function blankTexts(
  transaction: Database,
  texts: FoundTexts,
  erasedAt: SQL<Date>,
): Promise<{ completions: number; comparisons: number }> {
  const counts = { completions: 0, comparisons: 0 };
  for (const chunk of toChunks(texts.completions)) {
    // Waits for votes on them that are not yet committed, and makes later ones wait: they lock completions too.
    const isOpen = and(inArray(completions.id, chunk), isNull(completions.erased_at));
    const locked = await transaction
      .select({ id: completions.id })
      .from(completions)
      .where(isOpen)
      .orderBy(asc(completions.id))
      .for('no key update');
    const ids = locked.map(({ id }) => id);
    if (ids.length === 0) continue;
    await transaction
      .update(completions)
      .set({ prompt: '', prompt_token_ids: [], sampling: {}, seed: 0, user: null, metadata: null, erased_at: erasedAt })
      .where(inArray(completions.id, ids));
    await transaction
      .update(generations)
      .set({ text: '', token_ids: [], logps: [], stop_token: null })
      .where(inArray(generations.completion_id, ids));
    counts.completions += ids.length;
  }
  for (const chunk of toChunks(texts.comparisons)) {
    const blanked = await transaction
      .update(comparisons)
      .set({ prompt: '', metadata: null, erased_at: erasedAt })
      .where(and(inArray(comparisons.id, chunk), isNull(comparisons.erased_at)))
      .returning({ id: comparisons.id });
    counts.comparisons += blanked.length;
  }
  return counts;
}

/** `ids`: sorted. The rater's name goes too; its place is taken by the id, since a rater has one vote on a comparison. */
export async function blankPreferences(
  transaction: Database,
  ids: string[],
  erasedAt: SQL<Date>,
): Promise<BlankedPreference[]> {
  const blanked: BlankedPreference[] = [];
  for (const chunk of toChunks(ids)) {
    const { id, tenant, rater, source, choice, reservation_id, edit_of } = preferences;
    const locked = await transaction
      .select({ id, tenant, rater, source, choice, reservation_id, edit_of })
      .from(preferences)
      .where(and(inArray(id, chunk), isNull(preferences.erased_at)))
      .orderBy(asc(id))
      .for('update');
    if (locked.length === 0) continue;
    await transaction
      .update(preferences)
      .set({
        prompt: '',
        chosen: '',
        rejected: '',
        rater: sql`'erased:' || ${id}`,
        tags: [],
        comment: null,
        metadata: null,
        // The vote may get another edit.
        reservation_id: sql`case when ${edit_of} is null then ${reservation_id} end`,
        erased_at: erasedAt,
      })
      .where(
        inArray(
          id,
          locked.map((row) => row.id),
        ),
      );
    blanked.push(...locked);
  }
  return blanked;
}

/** `ids`: sorted. Returns those that were not blank before. */
export async function blankFeedback(transaction: Database, ids: string[], erasedAt: SQL<Date>): Promise<string[]> {
  const blanked: string[] = [];
  const { id, erased_at } = feedback;
  for (const chunk of toChunks(ids)) {
    const locked = await transaction
      .select({ id })
      .from(feedback)
      .where(and(inArray(id, chunk), isNull(erased_at)))
      .orderBy(asc(id))
      .for('update');
    const open = locked.map((row) => row.id);
    if (open.length === 0) continue;
    const content = { comment: null, tags: [], demonstration: null, preference_id: null };
    await transaction
      .update(feedback)
      .set({ ...content, rater: sql`'erased:' || ${id}`, erased_at: erasedAt })
      .where(inArray(id, open));
    blanked.push(...open);
  }
  return blanked;
}
