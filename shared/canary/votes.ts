// The blind votes on a canary: of people to whom responses of its two policies were shown as a and b.

import { and, eq, inArray, isNotNull, isNull, ne, notExists, or, type SQL, sql } from 'drizzle-orm';
import { alias, unionAll } from 'drizzle-orm/pg-core';
import type { Database } from '../database/connect.ts';
import { comparisons, completions, generations, preferences, queue_raters, queues } from '../database/schema.ts';
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
  /** for a side, on a comparison of which another one counts: they are about the same two texts */
  repeated: number;
  /** for a side, of raters who had given as many as count before */
  overLimit: number;
  raters: number;
};

const [chosen, rejected] = [alias(generations, 'chosen_generation'), alias(generations, 'rejected_generation')];
const [ofChosen, ofRejected] = [alias(completions, 'chosen_completion'), alias(completions, 'rejected_completion')];

/**
 * Of each comparison one vote counts, so that each draws its two responses anew: several on one would agree about a good draw,
 * and be taken for evidence of a good policy. Votes that were erased do not count, nor those of a rater who is paused in the
 * queue of the comparison.
 */
export async function readVotes(db: Database, canary: CanaryRow, perRater: number): Promise<Votes> {
  const own = selectVotes(db, canary, eq(comparisons.canary_id, canary.id));
  const rows = await (canary.promoted_at
    ? unionAll(own, selectVotes(db, canary, isMadeWhileWatching(canary, canary.promoted_at)))
    : own
  ).orderBy(sql`xid, id`);
  const isWithinLimit = limitByRater(perRater);
  const decided = new Set<string>();
  const votes: Votes = { counted: [], ties: 0, bothBad: 0, repeated: 0, overLimit: 0, raters: 0 };
  for (const row of rows) {
    if (row.choice === 'tie') votes.ties++;
    else if (row.choice === 'both_bad') votes.bothBad++;
    else if (decided.has(row.comparison!)) votes.repeated++;
    else if (!isWithinLimit(row)) votes.overLimit++;
    else {
      decided.add(row.comparison!);
      votes.counted.push({ isWin: row.isWin, at: row.at });
    }
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
      comparison: preferences.comparison_id,
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

/**
 * How many votes of the last day a canary would have counted: on comparisons of a canary, or of two responses of the active
 * policy that a canary's would have taken the place of.
 */
export async function countVotes(db: Database, perRater: number): Promise<number> {
  const [a, b] = [alias(generations, 'generation_a'), alias(generations, 'generation_b')];
  const isOfOnePolicy = and(
    eq(a.completion_id, b.completion_id),
    eq(completions.kind, 'comparison'),
    or(isNull(comparisons.queue_id), hasFreePairing),
  );
  const voted = db
    .selectDistinctOn([comparisons.id], { tenant: preferences.tenant, rater: preferences.rater })
    .from(preferences)
    .innerJoin(comparisons, eq(comparisons.id, preferences.comparison_id))
    .innerJoin(a, eq(a.id, comparisons.a_generation_id))
    .innerJoin(b, eq(b.id, comparisons.b_generation_id))
    .innerJoin(completions, eq(completions.id, a.completion_id))
    .leftJoin(queues, eq(queues.id, comparisons.queue_id))
    .where(
      and(
        isCreatedIn(preferences, 'pref_', { since: sql`now() - interval '1 day'` }),
        eq(preferences.source, 'comparison'),
        inArray(preferences.choice, ['a', 'b']),
        isNull(preferences.erased_at),
        or(isNotNull(comparisons.canary_id), isOfOnePolicy),
      ),
    )
    .orderBy(comparisons.id, preferences.xid, preferences.id)
    .as('voted');
  const ofRaters = db
    .select({ counted: sql<number>`least(count(*), ${perRater})`.as('counted') })
    .from(voted)
    .groupBy(voted.tenant, voted.rater)
    .as('of_raters');
  const [row] = await db.select({ sum: sql<number>`coalesce(sum(counted), 0)::int` }).from(ofRaters);
  return row!.sum;
}

/** Of a queue whose items are a canary's while one runs. */
const hasFreePairing = sql`${queues.settings}->'pairing'->>'type' = 'canary'
  or (${queues.settings}->'pairing'->>'type' = 'same' and ${queues.settings}->'pairing'->>'policy' is null)`;
