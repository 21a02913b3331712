// One pair of each comparison: by the majority of those who voted on it. A comparison whose majority is a tie, or that has none,
// has no line in a file of pairs, and is counted. Other pairs, demonstrations among them, are one person's each.

import { inArray, ne, not, type SQL, sql } from 'drizzle-orm';
import { z } from 'zod';
import type { Database } from '../database/connect.ts';
import { PAGE_SIZE } from '../database/read-pages.ts';
import { preferences } from '../database/schema.ts';
import type { Pair } from './export.ts';
import { readPairs, toPair } from './pairs.ts';

export const minReviews = z.coerce.number().int().min(1).max(1000);

export type Aggregation = {
  /** votes that a comparison needs; a skip is none */
  minReviews: number;
  /** leaves out raters who are paused in the queue of the comparison */
  excludePaused: boolean;
};

export type MajorityCounts = {
  pairs: number;
  /** comparisons where more than half of the votes are a tie: equally good, or both bad */
  ties: number;
  no_majority: number;
  /** comparisons, and pairs of no comparison, each of which one person gave */
  too_few_reviews: number;
};

type Tally = { reviews: number; a: number; b: number; tie: number; both_bad: number };
/** With a vote for each side, if there is one, which has the texts. */
type ComparisonTally = Tally & { id: string; a_vote: string | null; b_vote: string | null };

/** First the majorities, by the ids of their comparisons, then the pairs of no comparison. */
export async function* readMajorities(db: Database, tenant: string, aggregation: Aggregation): AsyncGenerator<Pair> {
  let after = '';
  let tallies: ComparisonTally[];
  do {
    tallies = (await db.execute(
      sql`${selectTallies(tenant, aggregation, after)} order by p.comparison_id limit ${PAGE_SIZE}`,
    )) as unknown as ComparisonTally[];
    yield* await toMajorities(db, tallies, aggregation);
    after = tallies.at(-1)?.id ?? after;
  } while (tallies.length === PAGE_SIZE);
  yield* readPairs(db, tenant, isOwnPair(aggregation));
}

export async function countMajorities(db: Database, tenant: string, aggregation: Aggregation): Promise<MajorityCounts> {
  const { minReviews } = aggregation;
  const [counts] = (await db.execute(sql`
    select
      count(*) filter (where reviews < ${minReviews})::int as too_few,
      count(*) filter (where reviews >= ${minReviews} and 2 * greatest(a, b) > reviews)::int as pairs,
      count(*) filter (where reviews >= ${minReviews} and 2 * (tie + both_bad) > reviews)::int as ties,
      count(*) filter (
        where reviews >= ${minReviews} and 2 * greatest(a, b, tie + both_bad) <= reviews
      )::int as no_majority
    from (${selectTallies(tenant, aggregation, '')}) tallies`)) as unknown as [
    { too_few: number; pairs: number; ties: number; no_majority: number },
  ];
  const isPair = sql`${preferences.tenant} = ${tenant} and ${preferences.erased_at} is null
    and ${preferences.choice} in ('a', 'b')`;
  const own = await db.$count(preferences, sql`${isPair} and ${isOwnPair(aggregation)}`);
  const single = minReviews > 1 ? await db.$count(preferences, sql`${isPair} and ${isOfNoComparison}`) : 0;
  return {
    pairs: counts.pairs + own,
    ties: counts.ties,
    no_majority: counts.no_majority,
    too_few_reviews: counts.too_few + single,
  };
}

/** In the order of the index on (comparison_id, rater), so that a page reads no other votes. */
function selectTallies(tenant: string, { excludePaused }: Aggregation, after: string): SQL {
  const count = (choice: string) => sql`count(*) filter (where p.choice = ${choice})::int`;
  return sql`
    select p.comparison_id as id, count(*)::int as reviews, ${count('a')} as a, ${count('b')} as b,
      ${count('tie')} as tie, ${count('both_bad')} as both_bad,
      min(p.id) filter (where p.choice = 'a') as a_vote, min(p.id) filter (where p.choice = 'b') as b_vote
    from ${preferences} p
    where p.tenant = ${tenant} and p.comparison_id > ${after} and p.source = 'comparison' and p.choice <> 'skip'
      and p.erased_at is null ${excludePaused ? sql`and not ${isPaused(sql`p.comparison_id`, sql`p.rater`)}` : sql``}
    group by p.comparison_id`;
}

/**
 * Few are paused anywhere: of the others no comparison is read. `offset 0` keeps Postgres from making a join of it, with which
 * each page would read all comparisons.
 */
function isPaused(comparison: SQL, rater: SQL): SQL {
  return sql`(
    ${rater} = any (array(select rater from queue_raters where paused_at is not null)) and exists (
      select from comparisons c join queue_raters q on q.queue_id = c.queue_id
      where c.id = ${comparison} and q.rater = ${rater} and q.paused_at is not null
      offset 0))`;
}

const isOfNoComparison = ne(preferences.source, 'comparison');

function isOwnPair({ minReviews, excludePaused }: Aggregation): SQL {
  const isOwn = minReviews > 1 ? sql`false` : isOfNoComparison;
  if (!excludePaused) return isOwn;
  // A demonstration is of the comparison of the vote that it improves.
  const comparison = sql`(select v.comparison_id from ${preferences} v where v.id = ${preferences.edit_of})`;
  return sql`${isOwn} and ${not(isPaused(comparison, sql`${preferences.rater}`))}`;
}

async function toMajorities(db: Database, tallies: ComparisonTally[], { minReviews }: Aggregation): Promise<Pair[]> {
  const majorities = tallies.flatMap((tally) => {
    const { reviews, a, b, a_vote, b_vote } = tally;
    if (reviews < minReviews) return [];
    if (2 * a > reviews) return [{ tally, vote: a_vote! }];
    return 2 * b > reviews ? [{ tally, vote: b_vote! }] : [];
  });
  if (majorities.length === 0) return [];
  const rows = await db
    .select()
    .from(preferences)
    .where(
      inArray(
        preferences.id,
        majorities.map(({ vote }) => vote),
      ),
    );
  const byId = new Map(rows.map((row) => [row.id, row]));
  return majorities.flatMap(({ tally, vote }) => {
    const row = byId.get(vote);
    // Erased since it was counted.
    if (!row || row.erased_at) return [];
    const { id, a, b, tie, both_bad } = tally;
    const [chosen, rejected] = row.choice === 'a' ? [a, b] : [b, a];
    return [
      {
        ...toPair(row),
        id,
        rater: tally.reviews === 1 ? row.rater : null,
        strength: tally.reviews === 1 ? row.strength : null,
        votes: { chosen, rejected, tie, both_bad },
        metadata: null,
      },
    ];
  });
}
