// A vote retracted or changed by whoever gave it, until a round has used it, together with the demonstration that its edit
// became. A changed vote is another row under the same id: the triggers count it, lists in the order of transactions have it
// again, and a round that is selecting it notices.
import { and, asc, desc, eq, inArray, isNull, or } from 'drizzle-orm';
import type { Owner } from '../access/owner.ts';
import type { Database } from '../database/connect.ts';
import { type Choice, feedback, preferences, round_pairs } from '../database/schema.ts';
import { AttuneError } from '../error.ts';
import { hashJudgment } from '../preferences/hash-judgment.ts';
import {
  assertDetailsFit,
  type PreferenceRow,
  type StoredVote,
  storeEdit,
  type VoteDetails,
} from '../preferences/vote-details.ts';
import { forgetDemonstrations, forgetResponses, isDemonstratedBy } from './forget.ts';

/** Who revises, and through which reservation: votes of a queue's items are revised through theirs only. */
export type Reviser = Owner & {
  /** of an end user, who may revise no other's vote that the same key has stored; and the only comparison, if there is one */
  rater?: string | undefined;
  comparison_id?: string | undefined;
  reservation_id?: string | null;
};

/** What changes; what is left out stays. `isRedacted`: something in it was. */
export type VoteChange = VoteDetails & { choice?: Choice | undefined; isRedacted?: boolean };

/** Deletes it, so that its rater may vote again. Null if the caller has given no such vote. */
export async function retractVote(transaction: Database, id: string, reviser: Reviser): Promise<StoredVote | null> {
  await lockFeedback(transaction, id);
  const stored = await lockUnused(transaction, id, reviser);
  if (!stored) return null;
  await forgetDemonstrations(transaction, [id]);
  await removePreferences(transaction, [id, ...(stored.demonstration ? [stored.demonstration.id] : [])]);
  return stored;
}

export async function removePreferences(transaction: Database, ids: string[]): Promise<void> {
  await transaction.delete(preferences).where(inArray(preferences.id, ids));
  await forgetResponses(transaction, ids);
}

/**
 * Null if the caller has given no such vote. With another choice, a strength and an edit of the old one are gone, unless the
 * change has them too.
 */
export async function changeVote(
  transaction: Database,
  id: string,
  { choice: given, isRedacted = false, edit: givenEdit, ...details }: VoteChange,
  reviser: Reviser,
): Promise<StoredVote | null> {
  const stored = await lockUnused(transaction, id, reviser);
  if (!stored) return null;
  const { vote: row, demonstration } = stored;
  if ((given !== undefined && row.source !== 'comparison') || !CHANGEABLE.has(row.source))
    throw new AttuneError(
      `id: ${id} is no vote on a comparison; delete it, and send the preference that you mean instead`,
      { param: 'id', code: 'not_a_comparison' },
    );
  const choice = given ?? row.choice;
  assertDetailsFit(choice, { ...details, edit: givenEdit });
  const stays = choice === row.choice;
  const keep = <T>(value: T | undefined, old: T): T => (value === undefined ? old : value);
  const vote: PreferenceRow = {
    ...row,
    choice,
    ...orderSides(row, choice),
    strength: keep(details.strength, stays ? row.strength : null),
    tags: keep(details.tags, row.tags) ?? [],
    comment: keep(details.comment, row.comment),
    seconds: keep(details.seconds, row.seconds),
    redacted: isRedacted || row.redacted,
  };
  vote.content_hash = hashJudgment(vote);
  await transaction.delete(preferences).where(eq(preferences.id, id));
  await transaction.insert(preferences).values(vote);

  if (demonstration && stays && givenEdit === undefined) return { vote, demonstration };
  if (demonstration) await removePreferences(transaction, [demonstration.id]);
  return { vote, demonstration: givenEdit == null ? null : await storeEdit(transaction, vote, givenEdit, isRedacted) };
}

/** Of these the details change; of the others nothing does. */
const CHANGEABLE: ReadonlySet<string> = new Set(['comparison', 'generations', 'raw']);

/** Only side b as the preferred one changes places with side a. */
function orderSides(row: PreferenceRow, choice: Choice) {
  if ((row.choice === 'b') === (choice === 'b')) return {};
  return {
    chosen: row.rejected,
    rejected: row.chosen,
    chosen_generation_id: row.rejected_generation_id,
    rejected_generation_id: row.chosen_generation_id,
  };
}

/** The vote with its demonstration: until the transaction ends, no round can use them. */
async function lockUnused(
  transaction: Database,
  id: string,
  { tenant, created_by, rater, comparison_id, reservation_id = null }: Reviser,
): Promise<StoredVote | null> {
  const isOwn = and(
    eq(preferences.tenant, tenant),
    eq(preferences.created_by, created_by),
    rater === undefined ? undefined : eq(preferences.rater, rater),
  );
  const rows = await transaction
    .select()
    .from(preferences)
    .where(and(or(eq(preferences.id, id), eq(preferences.edit_of, id)), isOwn, isNull(preferences.erased_at)))
    .orderBy(asc(preferences.id))
    .for('update');
  const found = rows.find((row) => row.id === id);
  if (!found || (comparison_id !== undefined && found.comparison_id !== comparison_id)) return null;
  const { xid, ...vote } = found;
  const demonstration = rows.find((row) => row.edit_of === id) ?? null;
  if (vote.reservation_id !== reservation_id)
    throw new AttuneError(
      `id: ${id} is a vote on an item of a queue; change or undo it through its reservation: POST or DELETE ` +
        `/v1/reservations/${vote.reservation_id}/vote`,
      { status: 409, param: 'id', code: 'queued_comparison', retry: false },
    );
  await assertUnused(
    transaction,
    rows.map((row) => row.id),
  );
  return { vote, demonstration };
}

/** Locks these preferences, so that no round can use them until the transaction ends. Throws a 409 if one has used any. */
export async function assertUnused(transaction: Database, ids: string[]): Promise<void> {
  await transaction
    .select({ id: preferences.id })
    .from(preferences)
    .where(inArray(preferences.id, ids))
    .orderBy(asc(preferences.id))
    .for('update');
  const [use] = await transaction
    .select({ id: round_pairs.preference_id, round: round_pairs.round_id })
    .from(round_pairs)
    .where(inArray(round_pairs.preference_id, ids))
    .orderBy(desc(round_pairs.round_id))
    .limit(1);
  if (use)
    throw new AttuneError(
      `${use.id} was used by ${use.round} and can be neither changed nor retracted; an administrator can erase it`,
      { status: 409, param: 'id', code: 'already_used', retry: false },
    );
}

/** That whose demonstration the preference is: feedback is locked before its preference, as where it is given. */
async function lockFeedback(transaction: Database, preferenceId: string): Promise<void> {
  await transaction
    .select({ id: feedback.id })
    .from(feedback)
    .where(isDemonstratedBy(transaction, [preferenceId]))
    .for('update');
}
