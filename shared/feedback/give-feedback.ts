// What a user of a product says about one generation: a thumb, a score, a comment, tags, and a better response, which becomes a
// preference for it over the generation. A rater has one row for each generation, which says the last word; a name that another
// key gives is another rater. Rows are locked in one order: completion, feedback, preference, as an erasure locks them.

import { and, eq, isNull, sql } from 'drizzle-orm';
import type { Owner } from '../access/owner.ts';
import type { Database } from '../database/connect.ts';
import type { StoredGeneration } from '../database/generations.ts';
import { feedback } from '../database/schema.ts';
import { assertUnused, removePreferences } from '../erasure/revise.ts';
import { newId } from '../id.ts';
import { storeDemonstration } from '../preferences/vote-details.ts';

export type FeedbackRow = Omit<typeof feedback.$inferSelect, 'xid'>;

/** Left out: what was said before stays; null: it is taken back. */
export type FeedbackFields = {
  [Name in 'thumb' | 'score' | 'comment' | 'demonstration']?: FeedbackRow[Name] | undefined;
} & { tags?: string[] | null | undefined };

/** `rows`: how many it has stored. `isRedacted`: something in the fields was. Throws a 409 if a round has used what it replaces. */
export async function giveFeedback(
  transaction: Database,
  generation: StoredGeneration,
  { rater, created_by }: { rater: string; created_by: string },
  { demonstration: text, ...fields }: FeedbackFields,
  isRedacted: boolean,
): Promise<{ row: FeedbackRow; rows: number }> {
  const { id: generation_id, tenant } = generation;
  const key = and(
    eq(feedback.generation_id, generation_id),
    eq(feedback.rater, rater),
    eq(feedback.created_by, created_by),
  );
  const first = { id: newId('fb_'), generation_id, rater, tenant, created_by, created_at: new Date() };
  let old: FeedbackRow | undefined;
  // Again if the row that was in the way was erased or retracted meanwhile.
  while (!old) {
    await transaction.insert(feedback).values(first).onConflictDoNothing();
    [old] = await transaction.select().from(feedback).where(key).for('update');
  }
  const redacted = isRedacted || old.redacted;
  const isNew = text !== undefined && text !== old.demonstration;
  if (isNew && old.preference_id !== null) await removeUnused(transaction, old.preference_id);
  const shown = { text: generation.text, generationId: generation_id };
  const given = { prompt: generation.prompt, rater, tenant, created_by, reservation_id: null, edit_of: null };
  const pair =
    isNew && text !== null
      ? await storeDemonstration(
          transaction,
          { ...given, text, shown, redacted: isRedacted || generation.redacted },
          'demonstration',
        )
      : null;
  const [row] = await transaction
    .update(feedback)
    .set({
      ...fields,
      tags: fields.tags === null ? [] : fields.tags,
      ...(isNew ? { demonstration: text, preference_id: pair?.id ?? null } : {}),
      redacted,
      // A list in the order of transactions has it again.
      xid: sql`pg_current_xact_id()`,
    })
    .where(key)
    .returning();
  return { row: row!, rows: pair ? 2 : 1 };
}

/** Null if the owner has given no such feedback; `owner` null: whoever gave it. Throws a 409 if a round has used its pair. */
export async function retractFeedback(
  transaction: Database,
  id: string,
  owner: Owner | null,
): Promise<FeedbackRow | null> {
  const isOwn = owner && and(eq(feedback.tenant, owner.tenant), eq(feedback.created_by, owner.created_by));
  const [row] = await transaction
    .select()
    .from(feedback)
    .where(and(eq(feedback.id, id), isNull(feedback.erased_at), isOwn ?? undefined))
    .for('update');
  if (!row) return null;
  if (row.preference_id !== null) await removeUnused(transaction, row.preference_id);
  await transaction.delete(feedback).where(eq(feedback.id, id));
  return row;
}

async function removeUnused(transaction: Database, preferenceId: string): Promise<void> {
  await assertUnused(transaction, [preferenceId]);
  await removePreferences(transaction, [preferenceId]);
}
