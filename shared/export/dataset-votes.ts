// Counts the votes of a datasheet: what they say, and how many raters gave how many. Raters are never named.

import { type SQL, sql } from 'drizzle-orm';
import { preferences } from '../database/schema.ts';
import type { ComparisonFilter } from './comparisons.ts';
import { type DatasetQuery, isoTime, quantiles, SIDES, toQuantiles } from './dataset-query.ts';
import type { Datasheet } from './datasheet.ts';

const MOST_ACTIVE = 100;

type VoteGroup = {
  queue: string | null;
  name: string | null;
  choice: string;
  strength: string | null;
  votes: number;
  redacted: number;
  with_comment: number;
  first: string;
  last: string;
};

export async function countVotes(select: DatasetQuery): Promise<Datasheet['votes']> {
  const groups = await select<VoteGroup>(sql`
    select v.queue_id as queue, q.name, choice, strength, count(*)::int as votes,
      count(*) filter (where redacted)::int as redacted, count(comment)::int as with_comment,
      ${isoTime(sql`min(v.created_at)`)} as first, ${isoTime(sql`max(v.created_at)`)} as last
    from v left join queues q on q.id = v.queue_id group by 1, 2, 3, 4`);
  const [median] = await select<{ seconds: number | null }>(sql`
    select percentile_cont(0.5) within group (order by seconds) as seconds from v where seconds is not null`);
  const byPolicy = await select<{ policy: string; votes: number; preferred: number }>(sql`
    select o.policy_id as policy, count(*)::int as votes,
      count(*) filter (where v.choice in ('a', 'b') and v.chosen_generation_id = g.id)::int as preferred
    from v cross join lateral ${SIDES} join generations g on g.id = s.id join completions o on o.id = g.completion_id
    group by 1 order by 2 desc, 1`);
  const sum = (of: (group: VoteGroup) => number) => groups.reduce((total, group) => total + of(group), 0);
  const times = groups.flatMap(({ first, last }) => [first, last]).sort();
  const byQueue = Map.groupBy(groups, ({ queue }) => queue);
  return {
    total: sum(({ votes }) => votes),
    by_choice: countBy(groups, ({ choice }) => choice),
    by_strength: countBy(groups, ({ strength }) => strength),
    by_queue: [...byQueue.values()]
      .map((of) => ({
        queue: of[0]!.queue,
        name: of[0]!.name,
        votes: of.reduce((total, { votes }) => total + votes, 0),
      }))
      .sort((one, other) => other.votes - one.votes),
    by_policy: byPolicy,
    redacted: sum(({ redacted }) => redacted),
    with_comment: sum((group) => group.with_comment),
    seconds_median: median!.seconds,
    dates: { first: times[0] ?? null, last: times.at(-1) ?? null },
  };
}

/** Most first; groups without the value are not counted. */
function countBy<T extends { votes: number }>(
  groups: T[],
  nameOf: (group: T) => string | null,
): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const group of groups) {
    const value = nameOf(group);
    if (value !== null) counts[value] = (counts[value] ?? 0) + group.votes;
  }
  return Object.fromEntries(Object.entries(counts).sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1)));
}

export async function countRaters(select: DatasetQuery): Promise<Datasheet['raters']> {
  const [raters] = await select<{
    total: number;
    invited: number;
    users: number;
    quantiles: number[] | null;
    most: number[] | null;
  }>(sql`
    , r as materialized (select rater, count(*)::int as votes from v group by 1)
    select count(*)::int as total, count(*) filter (where starts_with(rater, 'rater_'))::int as invited,
      count(*) filter (where starts_with(rater, 'user:'))::int as users, ${quantiles(sql`votes`)} as quantiles,
      (select json_agg(votes order by votes desc)
        from (select votes from r order by votes desc limit ${MOST_ACTIVE}) most) as most
    from r`);
  const { total, invited, users, quantiles: perRater, most } = raters!;
  return {
    total,
    by_kind: { rater: invited, 'end user': users, other: total - invited - users },
    votes_per_rater: toQuantiles(perRater),
    votes_of_most_active: most ?? [],
  };
}

/** All preferences of the tenant and time; of a queue, the votes and their edits. */
export async function countSources(select: DatasetQuery, filter: ComparisonFilter): Promise<Record<string, number>> {
  const rows = await select<{ source: string; votes: number }>(sql`
    select source, count(*)::int as votes from (${selectSources(filter)}) sources group by 1`);
  return countBy(rows, ({ source }) => source);
}

function selectSources({ tenant, queue, since, until }: ComparisonFilter): SQL {
  if (queue !== undefined)
    return sql`
      select source from v union all
      select e.source from ${preferences} e join v on v.id = e.edit_of where e.erased_at is null`;
  const isSince = since ? sql`and created_at >= ${since.toISOString()}` : sql``;
  const isUntil = until ? sql`and created_at < ${until.toISOString()}` : sql``;
  return sql`
    select source from ${preferences} where tenant = ${tenant} and erased_at is null ${isSince} ${isUntil}`;
}
