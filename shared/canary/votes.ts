// The blind votes on a canary: of people to whom responses of its two policies were shown as a and b.

import { and, eq, inArray, isNotNull, isNull, ne, notExists, type SQL, sql } from 'drizzle-orm';
import { alias, unionAll } from 'drizzle-orm/pg-core';
import type { Database } from '../database/connect.ts';
import { comparisons, completions, generations, preferences, queue_raters } from '../database/schema.ts';
import type { CanaryRow } from '../store/canary-states.ts';
import { limitByRater } from './first-by-rater.ts';
import { isCreatedIn } from './id-range.ts';

/** For a side. */
export type CountedVote = { isWin: boolean; at: Date };

export type Votes = {
  /** in the order in which Postgres got them */
  counted: CountedVote[];
  ties: number;
  bothBad: number;
  /** for a side, of raters who had given as many as count before */
  overLimit: number;
  raters: number;
};

const [chosen, rejected] = [alias(generations, 'chosen_generation'), alias(generations, 'rejected_generation')];
const [ofChosen, ofRejected] = [alias(completions, 'chosen_completion'), alias(completions, 'rejected_completion')];

/** Votes that were erased do not count, nor those of a rater who is paused in the queue of the comparison. */
export async function readVotes(db: Database, canary: CanaryRow, perRater: number): Promise<Votes> {
  const own = selectVotes(db, canary, eq(comparisons.canary_id, canary.id));
  const rows = await (canary.promoted_at
    ? unionAll(own, selectVotes(db, canary, isMadeWhileWatching(canary, canary.promoted_at)))
    : own
  ).orderBy(sql`xid, id`);
  const isCounted = limitByRater(perRater);
  const votes: Votes = { counted: [], ties: 0, bothBad: 0, overLimit: 0, raters: 0 };
  for (const row of rows) {
    if (row.choice === 'tie') votes.ties++;
    else if (row.choice === 'both_bad') votes.bothBad++;
    else if (isCounted(row)) votes.counted.push({ isWin: row.isWin, at: row.at });
    else votes.overLimit++;
  }
  return { ...votes, raters: new Set(rows.map(({ tenant, rater }) => JSON.stringify([tenant, rater]))).size };
}

function selectVotes(db: Database, { policy_id, baseline_id }: CanaryRow, filter: SQL | undefined) {
  const pause = db
    .select({ one: sql`1` })
    .from(queue_raters)
    .where(
      and(
        eq(queue_raters.queue_id, comparisons.queue_id),
        eq(queue_raters.rater, preferences.rater),
        isNotNull(queue_raters.paused_at),
      ),
    );
  const both = [policy_id, baseline_id];
  return db
    .select({
      id: preferences.id,
      xid: preferences.xid,
      tenant: preferences.tenant,
      rater: preferences.rater,
      choice: preferences.choice,
      isWin: sql<boolean>`${ofChosen.policy_id} = ${policy_id}`,
      at: preferences.created_at,
    })
    .from(preferences)
    .innerJoin(comparisons, eq(comparisons.id, preferences.comparison_id))
    .innerJoin(chosen, eq(chosen.id, preferences.chosen_generation_id))
    .innerJoin(ofChosen, eq(ofChosen.id, chosen.completion_id))
    .innerJoin(rejected, eq(rejected.id, preferences.rejected_generation_id))
    .innerJoin(ofRejected, eq(ofRejected.id, rejected.completion_id))
    .where(
      and(
        filter,
        eq(preferences.source, 'comparison'),
        ne(preferences.choice, 'skip'),
        isNull(preferences.erased_at),
        inArray(ofChosen.policy_id, both),
        inArray(ofRejected.policy_id, both),
        ne(ofChosen.policy_id, ofRejected.policy_id),
        notExists(pause),
      ),
    );
}

/** On comparisons of its two policies that somebody asked for, or that an earlier canary made. */
function isMadeWhileWatching({ id, ended_at }: CanaryRow, promotedAt: Date): SQL | undefined {
  return and(
    isCreatedIn(preferences, 'pref_', { since: promotedAt, until: ended_at }),
    sql`${comparisons.canary_id} is distinct from ${id}`,
  );
}

/** Comparisons that somebody voted on in the last day, up to `limit`. */
export function countVotedComparisons(db: Database, limit: number): Promise<number> {
  const voted = db
    .selectDistinct({ id: preferences.comparison_id })
    .from(preferences)
    .where(
      and(
        isCreatedIn(preferences, 'pref_', { since: sql`now() - interval '1 day'` }),
        isNotNull(preferences.comparison_id),
        ne(preferences.choice, 'skip'),
      ),
    )
    .limit(limit);
  return db.$count(voted.as('voted'));
}
