// A vote retracted or changed by whoever gave it, until a round has used it. A changed vote is another row under the same id:
// the triggers count it, lists in the order of transactions have it again, and a round that is selecting it notices.
import { and, desc, eq, isNull } from 'drizzle-orm';
import type { Owner } from '../access/owner.ts';
import type { Database } from '../database/connect.ts';
import { type Choice, preferences, round_pairs } from '../database/schema.ts';
import { AttuneError } from '../error.ts';
import { hashJudgment } from '../preferences/hash-judgment.ts';
import { forgetResponses } from './forget.ts';

type PreferenceRow = typeof preferences.$inferSelect;

/** Deletes it, so that its rater may vote again. Null if the caller has given no such vote. */
export async function retractVote(transaction: Database, id: string, owner: Owner): Promise<PreferenceRow | null> {
  const row = await lockUnused(transaction, id, owner);
  if (!row) return null;
  await transaction.delete(preferences).where(eq(preferences.id, id));
  await forgetResponses(transaction, [id]);
  return row;
}

/** Null if the caller has given no such vote. */
export async function changeVote(
  transaction: Database,
  id: string,
  choice: Choice,
  owner: Owner,
): Promise<PreferenceRow | null> {
  const row = await lockUnused(transaction, id, owner);
  if (!row) return null;
  if (row.source !== 'comparison')
    throw new AttuneError(
      `id: ${id} is no vote on a comparison; delete it, and send the preference that you mean instead`,
      { param: 'id', code: 'not_a_comparison' },
    );
  const { xid, ...changed } = { ...row, choice, ...orderSides(row, choice) };
  await transaction.delete(preferences).where(eq(preferences.id, id));
  const [inserted] = await transaction
    .insert(preferences)
    .values({ ...changed, content_hash: hashJudgment(changed) })
    .returning();
  return inserted!;
}

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

/** Until the transaction ends, no round can use it. */
async function lockUnused(
  transaction: Database,
  id: string,
  { tenant, created_by }: Owner,
): Promise<PreferenceRow | null> {
  const isOwn = and(eq(preferences.tenant, tenant), eq(preferences.created_by, created_by));
  const [row] = await transaction
    .select()
    .from(preferences)
    .where(and(eq(preferences.id, id), isOwn, isNull(preferences.erased_at)))
    .for('update');
  if (!row) return null;
  const [use] = await transaction
    .select({ round: round_pairs.round_id })
    .from(round_pairs)
    .where(eq(round_pairs.preference_id, id))
    .orderBy(desc(round_pairs.round_id))
    .limit(1);
  if (use)
    throw new AttuneError(
      `${id} was used by ${use.round} and can be neither changed nor retracted; an administrator can erase it`,
      { status: 409, param: 'id', code: 'already_used', retry: false },
    );
  return row;
}
