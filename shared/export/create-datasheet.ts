// Makes a datasheet from what Postgres counts.

import { sql } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { measureAgreement } from './agreement.ts';
import type { ComparisonFilter } from './comparisons.ts';
import {
  type DatasetQuery,
  isoTime,
  openDataset,
  PROMPT_LENGTH,
  quantiles,
  SIDES,
  toQuantiles,
} from './dataset-query.ts';
import { countRaters, countSources, countVotes } from './dataset-votes.ts';
import type { Datasheet } from './datasheet.ts';
import { countLanguages } from './languages.ts';
import { describeLimits } from './limits.ts';

/** Of the comparisons whose texts are measured, the same ones each time. */
const SAMPLE = 10_000;

export async function createDatasheet(
  db: Database,
  filter: ComparisonFilter,
  licence: string | null = null,
): Promise<Datasheet> {
  const select = openDataset(db, filter);
  // One after the other: each reads all votes, and other requests need connections too.
  const comparisons = await countComparisons(select);
  const votes = await countVotes(select);
  const sources = await countSources(select, filter);
  const raters = await countRaters(select);
  const { voted, ...agreement } = await measureAgreement(select);
  const texts = await measureTexts(select);
  const languages = await countLanguages(select);
  const guidelines = await listGuidelines(select);
  const { first, last, total, redacted, distinct, chats } = comparisons;
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
    comparisons: { total, voted, redacted, dates: { first, last } },
    votes,
    preferences_by_source: sources,
    raters,
    agreement,
    prompts: { distinct, chats, sampled: texts.sampled, characters: toQuantiles(texts.prompts), languages },
    responses: { characters: toQuantiles(texts.responses) },
    guidelines,
  };
  return { ...sheet, limits: describeLimits(sheet) };
}

async function countComparisons(select: DatasetQuery) {
  const [prompts] = await select<{
    total: number;
    distinct: number;
    chats: number;
    first: string | null;
    last: string | null;
  }>(sql`
    select coalesce(sum(total), 0)::int as total, count(*)::int as distinct, coalesce(sum(chats), 0)::int as chats,
      ${isoTime(sql`min(first)`)} as first, ${isoTime(sql`max(last)`)} as last
    from (
      select count(*) as total, count(*) filter (where jsonb_typeof(prompt) = 'array') as chats,
        min(created_at) as first, max(created_at) as last
      from c group by md5(prompt::text)
    ) prompts`);
  const [sides] = await select<{ redacted: number }>(sql`
    select count(distinct c.id)::int as redacted
    from c cross join lateral ${SIDES} join generations g on g.id = s.id
      join completions o on o.id = g.completion_id and o.redacted`);
  return { ...prompts!, ...sides! };
}

async function measureTexts(select: DatasetQuery) {
  const [lengths] = await select<{ sampled: number; prompts: number[] | null; responses: number[] | null }>(sql`
    , m as materialized (select * from c order by md5(id) limit ${SAMPLE})
    select (select count(*)::int from m) as sampled, (select ${quantiles(PROMPT_LENGTH)} from m) as prompts,
      (select ${quantiles(sql`length(g.text)`)} from m cross join lateral ${SIDES} join generations g on g.id = s.id)
        as responses`);
  return lengths!;
}

function listGuidelines(select: DatasetQuery): Promise<Datasheet['guidelines']> {
  return select(sql`
    select g.queue_id as queue, q.name, g.version, ${isoTime(sql`g.created_at`)} as created,
      (select count(*)::int from v join reservations r on r.id = v.reservation_id
        where r.queue_id = g.queue_id and r.guidelines_version = g.version) as votes,
      g.text
    from queue_guidelines g join queues q on q.id = g.queue_id
    where q.id in (select queue_id from c where queue_id is not null) and q.erased_at is null order by q.id, g.version`);
}
