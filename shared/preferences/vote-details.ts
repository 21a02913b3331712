// What a vote says besides its choice, and the demonstration that its edit becomes: a better text in place of the side that it
// chose, as a pair of its own, so that every trainer and export reads it like any other.

import { and, eq, inArray, isNull } from 'drizzle-orm';
import type { Owner } from '../access/owner.ts';
import type { Database } from '../database/connect.ts';
import { type Choice, preferences } from '../database/schema.ts';
import { AttuneError } from '../error.ts';
import { newId } from '../id.ts';
import { hashJudgment } from './hash-judgment.ts';

export type PreferenceRow = Omit<typeof preferences.$inferSelect, 'xid'>;

/** A vote with the demonstration that its edit became. */
export type StoredVote = { vote: PreferenceRow; demonstration: PreferenceRow | null };

/** What a rater gives. Left out: nothing is said, or what was said stays; null: nothing is said any more. */
export type VoteDetails = {
  [Name in 'strength' | 'comment' | 'seconds']?: PreferenceRow[Name] | undefined;
} & {
  tags?: string[] | null | undefined;
  /** a better text than the chosen side */
  edit?: string | null | undefined;
};

/** A response, and what somebody wrote in its place. */
export type Demonstration = Owner &
  Pick<PreferenceRow, 'prompt' | 'rater' | 'redacted' | 'reservation_id' | 'edit_of'> & {
    text: string;
    shown: { text: string; generationId: string | null };
  };

/** Whether the vote prefers a side: only then it can say by how much, and a better text takes the place of that side. */
export function isStrict(choice: Choice): boolean {
  return choice === 'a' || choice === 'b';
}

/** Throws if the details do not go with the choice. */
export function assertDetailsFit(choice: Choice, { strength, edit }: VoteDetails): void {
  if (isStrict(choice)) return;
  for (const [param, value] of Object.entries({ strength, edit }))
    if (value != null)
      throw new AttuneError(`${param}: needs the choice a or b; with ${choice} no side is the better one`, {
        param,
        code: 'invalid_value',
      });
}

/** As the edit of a vote or as feedback: a better text is one pair of its rater, however often it is given. */
async function assertFirstDemonstration(
  transaction: Pick<Database, 'select'>,
  { rejected_generation_id: shown, content_hash, tenant }: PreferenceRow,
  param: 'edit' | 'demonstration',
): Promise<void> {
  if (shown === null) return;
  const [earlier] = await transaction
    .select({ id: preferences.id })
    .from(preferences)
    .where(
      and(
        eq(preferences.rejected_generation_id, shown),
        eq(preferences.source, 'demonstration'),
        eq(preferences.content_hash, content_hash),
        eq(preferences.tenant, tenant),
        isNull(preferences.erased_at),
      ),
    )
    .limit(1);
  if (earlier)
    throw new AttuneError(
      `${param}: this rater has given the same text in place of ${shown}, as ${earlier.id}; leave it out`,
      {
        status: 409,
        param,
        code: 'already_given',
        retry: false,
      },
    );
}

/** `param`: the field that has the text. */
export async function storeDemonstration(
  transaction: Pick<Database, 'insert' | 'select'>,
  { text, shown, ...given }: Demonstration,
  param: 'edit' | 'demonstration',
): Promise<PreferenceRow> {
  if (text === shown.text)
    throw new AttuneError(`${param}: equals the response that it is meant to improve; change it, or leave it out`, {
      param,
      code: 'invalid_value',
    });
  const judgment = {
    source: 'demonstration' as const,
    comparison_id: null,
    choice: 'a' as const,
    prompt: given.prompt,
    chosen: text,
    rejected: shown.text,
    chosen_generation_id: null,
    rejected_generation_id: shown.generationId,
    rater: given.rater,
  };
  const row: PreferenceRow = {
    id: newId('pref_'),
    ...judgment,
    ...given,
    content_hash: hashJudgment(judgment),
    vote_hash: null,
    strength: null,
    tags: [],
    comment: null,
    seconds: null,
    metadata: null,
    erased_at: null,
    created_at: new Date(),
  };
  await assertFirstDemonstration(transaction, row, param);
  await transaction.insert(preferences).values(row);
  return row;
}

/** Throws if the edit equals a side: it would say nothing, or contradict the vote. */
export function assertEditImproves(edit: string, { chosen, rejected }: Record<'chosen' | 'rejected', string>): void {
  const refuse = (problem: string) =>
    new AttuneError(`edit: equals ${problem}`, { param: 'edit', code: 'invalid_value' });
  if (edit === chosen) throw refuse('the response that it is meant to improve; change it, or leave it out');
  if (edit === rejected) throw refuse('the other response; choose that one, or write a text that is better than both');
}

/** The demonstration of a vote that has an edit. */
export function storeEdit(
  transaction: Pick<Database, 'insert' | 'select'>,
  vote: PreferenceRow,
  text: string,
  isRedacted: boolean,
): Promise<PreferenceRow> {
  const { id, prompt, rater, tenant, created_by, reservation_id, chosen, chosen_generation_id: generationId } = vote;
  assertEditImproves(text, vote);
  const redacted = isRedacted || vote.redacted;
  const shown = { text: chosen, generationId };
  const given = { prompt, rater, tenant, created_by, reservation_id, redacted, edit_of: id };
  return storeDemonstration(transaction, { ...given, text, shown }, 'edit');
}

/** The edits of several votes, by the vote. */
export async function listEdits(
  db: Pick<Database, 'select'>,
  voteIds: string[],
): Promise<Map<string, { id: string; text: string }>> {
  if (voteIds.length === 0) return new Map();
  const rows = await db
    .select({ id: preferences.id, vote: preferences.edit_of, text: preferences.chosen })
    .from(preferences)
    .where(and(inArray(preferences.edit_of, voteIds), isNull(preferences.erased_at)));
  return new Map(rows.map(({ id, vote, text }) => [vote!, { id, text }]));
}
