// Counts what a datasheet says, in Postgres. Raters are counted and never named.

import { type SQL, sql } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { comparisons, preferences } from '../database/schema.ts';
import { measureAgreement } from './agreement.ts';
import { type ComparisonFilter, matchComparisons } from './comparisons.ts';
import type { Datasheet, Quantiles } from './datasheet.ts';
import { countLanguages } from './languages.ts';
import { describeLimits } from './limits.ts';

const MOST_ACTIVE = 100;
/** Of the comparisons whose texts are measured, the same ones each time. */
const SAMPLE = 10_000;
/** Of a comparison or a vote. */
const SIDES = sql`(values (a_generation_id), (b_generation_id)) as s (id)`;

/** What every query selects from: `c`, the comparisons, and `v`, the votes on them. Not materialized, which would copy their texts. */
function selectFrom(filter: ComparisonFilter): SQL {
  return sql`
    with c as not materialized (select ${comparisons}.* from ${comparisons} where ${matchComparisons(filter)}),
    v as not materialized (
      select p.*, c.queue_id, c.a_generation_id, c.b_generation_id from ${preferences} p join c on c.id = p.comparison_id
      where p.source = 'comparison' and p.erased_at is null
    )`;
}

const isoTime = (time: SQL) => sql`to_char(${time} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')`;
const quantiles = (value: SQL) => sql`
  to_json(percentile_disc(array[0, 0.25, 0.5, 0.75, 0.95, 1]::float8[]) within group (order by ${value}))`;

export async function createDatasheet(
  db: Database,
  filter: ComparisonFilter,
  licence: string | null = null,
): Promise<Datasheet> {
  const from = selectFrom(filter);
  const select = async <T extends Record<string, unknown>>(query: SQL): Promise<T[]> =>
    [...(await db.execute(sql`${from} ${query}`))] as T[];
  const selectOne = async <T extends Record<string, unknown>>(query: SQL): Promise<T> => (await select<T>(query))[0]!;
  const countBy = async (column: SQL, table: SQL) =>
    Object.fromEntries(
      (
        await select<{ name: string; count: number }>(
          sql`select ${column} as name, count(*)::int from ${table} where ${column} is not null group by 1 order by 2 desc, 1`,
        )
      ).map(({ name, count }) => [name, count]),
    );

  const total = await selectOne<{ total: number; voted: number; redacted: number; first: string; last: string }>(sql`
    select count(*)::int as total, (select count(distinct comparison_id)::int from v) as voted,
      (select count(distinct c.id)::int from c cross join lateral ${SIDES} join generations g on g.id = s.id
        join completions o on o.id = g.completion_id and o.redacted) as redacted,
      ${isoTime(sql`min(created_at)`)} as first, ${isoTime(sql`max(created_at)`)} as last
    from c`);
  const votes = await selectOne<{
    total: number;
    redacted: number;
    with_comment: number;
    seconds_median: number | null;
    first: string;
    last: string;
  }>(sql`
    select count(*)::int as total, count(*) filter (where redacted)::int as redacted, count(comment)::int as with_comment,
      percentile_cont(0.5) within group (order by seconds) as seconds_median,
      ${isoTime(sql`min(created_at)`)} as first, ${isoTime(sql`max(created_at)`)} as last
    from v`);
  const byQueue = await select<{ queue: string | null; name: string | null; votes: number }>(sql`
    select v.queue_id as queue, q.name, count(*)::int as votes from v left join queues q on q.id = v.queue_id
    group by 1, 2 order by 3 desc, 1`);
  const byPolicy = await select<{ policy: string; votes: number; preferred: number }>(sql`
    select o.policy_id as policy, count(*)::int as votes,
      count(*) filter (where v.choice in ('a', 'b') and v.chosen_generation_id = g.id)::int as preferred
    from v cross join lateral ${SIDES} join generations g on g.id = s.id join completions o on o.id = g.completion_id
    group by 1 order by 2 desc, 1`);
  const raters = await selectOne<{
    total: number;
    invited: number;
    users: number;
    quantiles: number[];
    most: number[] | null;
  }>(sql`
    , r as (select rater, count(*)::int as votes from v group by 1)
    select count(*)::int as total, count(*) filter (where rater like 'rater\\_%')::int as invited,
      count(*) filter (where rater like 'user:%')::int as users, ${quantiles(sql`votes`)} as quantiles,
      (select json_agg(votes order by votes desc) from (select votes from r order by votes desc limit ${MOST_ACTIVE}) m) as most
    from r`);
  const prompts = await selectOne<{ distinct: number; chats: number }>(sql`
    select count(*)::int as distinct, coalesce(sum(chats), 0)::int as chats from (
      select count(*) filter (where jsonb_typeof(prompt) = 'array') as chats from c group by md5(prompt::text)
    ) prompts`);
  const lengths = await selectOne<{ sampled: number; prompts: number[] | null; responses: number[] | null }>(sql`
    , m as materialized (select * from c order by md5(id) limit ${SAMPLE})
    select (select count(*)::int from m) as sampled,
      (select ${quantiles(sql`
        case when jsonb_typeof(prompt) = 'string' then length(prompt #>> '{}')
        else (select sum(length(e ->> 'content')) from jsonb_array_elements(prompt) e) end`)} from m) as prompts,
      (select ${quantiles(sql`length(g.text)`)} from m cross join lateral ${SIDES} join generations g on g.id = s.id)
        as responses`);
  const guidelines = await select<Datasheet['guidelines'][number]>(sql`
    select g.queue_id as queue, q.name, g.version, ${isoTime(sql`g.created_at`)} as created,
      (select count(*)::int from v join reservations r on r.id = v.reservation_id
        where r.queue_id = g.queue_id and r.guidelines_version = g.version) as votes,
      g.text
    from queue_guidelines g join queues q on q.id = g.queue_id
    where q.id in (select queue_id from c) and q.erased_at is null order by q.id, g.version`);
  const sheet = {
    object: 'datasheet' as const,
    created: Math.floor(Date.now() / 1000),
    selection: {
      tenant: filter.tenant,
      queue: filter.queue ?? null,
      since: filter.since?.toISOString() ?? null,
      until: filter.until?.toISOString() ?? null,
    },
    licence,
    comparisons: { total: total.total, voted: total.voted, redacted: total.redacted, dates: toDates(total) },
    votes: {
      total: votes.total,
      by_choice: await countBy(sql`choice`, sql`v`),
      by_strength: await countBy(sql`strength`, sql`v`),
      by_queue: byQueue,
      by_policy: byPolicy,
      redacted: votes.redacted,
      with_comment: votes.with_comment,
      seconds_median: votes.seconds_median,
      dates: toDates(votes),
    },
    preferences_by_source: await countBy(sql`s.source`, sql`(${selectSources(filter)}) s`),
    raters: {
      total: raters.total,
      by_kind: {
        rater: raters.invited,
        'end user': raters.users,
        other: raters.total - raters.invited - raters.users,
      },
      votes_per_rater: toQuantiles(raters.quantiles),
      votes_of_most_active: raters.most ?? [],
    },
    agreement: await measureAgreement(select),
    prompts: {
      distinct: prompts.distinct,
      chats: prompts.chats,
      sampled: lengths.sampled,
      characters: toQuantiles(lengths.prompts),
      languages: await countLanguages(select),
    },
    responses: { characters: toQuantiles(lengths.responses) },
    guidelines,
  };
  return { ...sheet, limits: describeLimits(sheet) };
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

const toDates = ({ first, last }: { first: string | null; last: string | null }) => ({ first, last });

function toQuantiles(values: number[] | null): Quantiles | null {
  const [min, p25, median, p75, p95, max] = values ?? [];
  if (min === undefined || max === undefined) return null;
  return { min, p25: p25!, median: median!, p75: p75!, p95: p95!, max };
}
