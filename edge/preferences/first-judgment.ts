// Each rater judges two generations once: as the sides of a comparison, or by their ids.

import { and, eq, inArray, isNull } from 'drizzle-orm';
import { preferences } from '../../shared/database/schema.ts';
import { AttuneError } from '../../shared/error.ts';
import type { PreferenceRow } from '../../shared/preferences/vote-details.ts';
import type { Transaction } from '../http/idempotency.ts';

/** Throws a 409 if the rater has judged them the other way; unique indexes refuse the same way twice. */
export async function assertFirstJudgment(transaction: Transaction, vote: PreferenceRow): Promise<void> {
  const { source, chosen_generation_id: chosen, rejected_generation_id: rejected } = vote;
  if (chosen === null || rejected === null) return;
  const sides = [chosen, rejected];
  const other = source === 'comparison' ? 'generations' : 'comparison';
  const [earlier] = await transaction
    .select({ id: preferences.id })
    .from(preferences)
    .where(
      and(
        inArray(preferences.chosen_generation_id, sides),
        inArray(preferences.rejected_generation_id, sides),
        eq(preferences.source, other),
        eq(preferences.tenant, vote.tenant),
        eq(preferences.rater, vote.rater),
        isNull(preferences.erased_at),
      ),
    )
    .limit(1);
  if (earlier) throw alreadyVoted(vote, source === 'comparison' ? 'comparison' : 'chosen');
}

export function alreadyVoted({ rater, comparison_id }: PreferenceRow, param: 'comparison' | 'chosen'): AttuneError {
  const what = param === 'comparison' ? comparison_id : 'these two responses';
  return new AttuneError(
    `${param}: rater ${JSON.stringify(rater)} has already voted on ${what}; each rater votes once`,
    { status: 409, param, code: 'already_voted', retry: false },
  );
}
