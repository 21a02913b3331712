// Queries of a datasheet: of `c`, the comparisons of a filter, and `v`, the votes on them.

import { type SQL, sql } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { comparisons, preferences } from '../database/schema.ts';
import { type ComparisonFilter, matchComparisons } from './comparisons.ts';

export type DatasetQuery = <T extends Record<string, unknown>>(query: SQL) => Promise<T[]>;

/** Not materialized, which would copy their texts. */
export function openDataset(db: Database, filter: ComparisonFilter): DatasetQuery {
  const from = sql`
    with c as not materialized (select ${comparisons}.* from ${comparisons} where ${matchComparisons(filter)}),
    v as not materialized (
      select p.*, c.queue_id, c.a_generation_id, c.b_generation_id from ${preferences} p join c on c.id = p.comparison_id
      where p.source = 'comparison' and p.erased_at is null
    )`;
  return async <T>(query: SQL) => [...(await db.execute(sql`${from} ${query}`))] as T[];
}

/** The generations of a comparison or a vote, as a relation that can be joined by hash. */
export const SIDES = sql`(values (a_generation_id), (b_generation_id)) as s (id)`;

export const isoTime = (time: SQL) => sql`to_char(${time} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')`;

/** Of a prompt as it is stored: the characters of all its messages. */
export const PROMPT_LENGTH = sql`
  case when jsonb_typeof(prompt) = 'string' then length(prompt #>> '{}')
  else (select sum(length(message ->> 'content')) from jsonb_array_elements(prompt) message) end`;

/** As toQuantiles reads them. */
export const quantiles = (value: SQL) => sql`
  to_json(percentile_disc(array[0, 0.25, 0.5, 0.75, 0.95, 1]::float8[]) within group (order by ${value}))`;

export type Quantiles = { min: number; p25: number; median: number; p75: number; p95: number; max: number };

export function toQuantiles(values: number[] | null): Quantiles | null {
  const [min, p25, median, p75, p95, max] = values ?? [];
  if (min === undefined || max === undefined) return null;
  return { min, p25: p25!, median: median!, p75: p75!, p95: p95!, max };
}
