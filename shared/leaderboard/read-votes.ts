// Reads the votes on comparisons of two policies into columns: 100,000 of them are a few megabytes.

import { and, asc, eq, gt, gte, isNull, lt, ne, notExists, type SQL, sql } from 'drizzle-orm';
import { alias } from 'drizzle-orm/pg-core';
import type { Database } from '../database/connect.ts';
import { readPages } from '../database/read-pages.ts';
import { type Choice, comparisons, completions, generations, preferences, queue_raters } from '../database/schema.ts';
import { STYLE_FEATURES } from './style.ts';

export type VoteFilter = {
  tenant: string;
  queue?: string | undefined;
  /** of the vote; the first is included, the second is not */
  since?: Date | undefined;
  until?: Date | undefined;
  /** leaves out votes in a queue by raters who are paused there */
  excludePaused?: boolean | undefined;
};

export type PolicyVote = {
  a: string;
  b: string;
  choice: Exclude<Choice, 'skip'>;
  rater: string;
  /** a hash */
  prompt: string;
  /** of both sides, in the order of STYLE_FEATURES; empty unless asked for */
  style: readonly [readonly number[], readonly number[]];
};

/** Votes at once. */
const PAGE = 10_000;

const [a, b] = [alias(generations, 'generation_a'), alias(generations, 'generation_b')];
const [ofA, ofB] = [alias(completions, 'completion_a'), alias(completions, 'completion_b')];

function matchVotes(db: Database, { tenant, queue, since, until, excludePaused }: VoteFilter): SQL | undefined {
  const pause = db
    .select({ one: sql`1` })
    .from(queue_raters)
    .where(
      and(
        eq(queue_raters.queue_id, comparisons.queue_id),
        eq(queue_raters.rater, preferences.rater),
        sql`${queue_raters.paused_at} is not null`,
      ),
    );
  return and(
    eq(preferences.tenant, tenant),
    eq(preferences.source, 'comparison'),
    isNull(preferences.erased_at),
    queue === undefined ? undefined : eq(comparisons.queue_id, queue),
    since && gte(preferences.created_at, since),
    until && lt(preferences.created_at, until),
    excludePaused ? notExists(pause) : undefined,
  );
}

/** Not those between two responses of one policy, and no skips. */
export function readVotes(db: Database, filter: VoteFilter, withStyle: boolean): AsyncGenerator<PolicyVote> {
  const measure = (text: SQL) =>
    sql<
      number[]
    >`array[${sql.join(withStyle ? STYLE_FEATURES.map(({ count }) => count(text)) : [], sql`, `)}]::int[]`.mapWith(
      parseIntegers,
    );
  const select = (after: string) =>
    db
      .select({
        id: preferences.id,
        a: ofA.policy_id,
        b: ofB.policy_id,
        choice: sql<PolicyVote['choice']>`${preferences.choice}`,
        rater: preferences.rater,
        prompt: sql<string>`hashtextextended(${comparisons.prompt}::text, 0)::text`,
        styleA: measure(sql`${a.text}`),
        styleB: measure(sql`${b.text}`),
      })
      .from(preferences)
      .innerJoin(comparisons, eq(comparisons.id, preferences.comparison_id))
      .innerJoin(a, eq(a.id, comparisons.a_generation_id))
      .innerJoin(b, eq(b.id, comparisons.b_generation_id))
      .innerJoin(ofA, eq(ofA.id, a.completion_id))
      .innerJoin(ofB, eq(ofB.id, b.completion_id))
      .where(
        and(
          matchVotes(db, filter),
          gt(preferences.id, after),
          ne(preferences.choice, 'skip'),
          ne(ofA.policy_id, ofB.policy_id),
        ),
      )
      .orderBy(asc(preferences.id))
      .limit(PAGE);
  return mapVotes(readPages(select, PAGE));
}

async function* mapVotes<T extends Omit<PolicyVote, 'style'> & { styleA: number[]; styleB: number[] }>(
  rows: AsyncIterable<T>,
): AsyncGenerator<PolicyVote> {
  for await (const { a, b, choice, rater, prompt, styleA, styleB } of rows)
    yield { a, b, choice, rater, prompt, style: [styleA, styleB] };
}

/** Without type fetching the driver returns arrays as text. */
function parseIntegers(value: string | number[]): number[] {
  return typeof value === 'string' ? value.slice(1, -1).split(',').filter(Boolean).map(Number) : value;
}

/** Votes that say nothing about which policy is better. */
export async function countOtherVotes(
  db: Database,
  filter: VoteFilter,
): Promise<{ skips: number; same_policy: number }> {
  const [row] = await db
    .select({
      skips: sql<number>`count(*) filter (where ${preferences.choice} = 'skip')`.mapWith(Number),
      same_policy: sql<number>`
        count(*) filter (where ${preferences.choice} <> 'skip' and ${ofA.policy_id} = ${ofB.policy_id})`.mapWith(
        Number,
      ),
    })
    .from(preferences)
    .innerJoin(comparisons, eq(comparisons.id, preferences.comparison_id))
    .innerJoin(a, eq(a.id, comparisons.a_generation_id))
    .innerJoin(b, eq(b.id, comparisons.b_generation_id))
    .innerJoin(ofA, eq(ofA.id, a.completion_id))
    .innerJoin(ofB, eq(ofB.id, b.completion_id))
    .where(matchVotes(db, filter));
  return row!;
}
