// Rows by when they were made, where their primary key is the only index that knows a time: ids are UUIDv7, with the clock of the
// process that made them. They find the rows, and the column that has Postgres's clock says which of them it is.

import { and, type Column, gte, lte, type SQL, sql } from 'drizzle-orm';
import type { IdPrefix } from '../id.ts';

/** By how much a clock may be off. */
const TOLERANCE = sql`interval '1 hour'`;

/** Times by Postgres's clock. */
export type Span = { since: Date | SQL; until?: Date | SQL | null };

export function isCreatedIn(
  table: { id: Column; created_at: Column },
  prefix: IdPrefix,
  { since, until = null }: Span,
): SQL | undefined {
  const [from, to] = [toTime(since), until && toTime(until)];
  return and(
    gte(table.id, boundary(prefix, sql`${from} - ${TOLERANCE}`)),
    gte(table.created_at, from),
    to ? lte(table.id, boundary(prefix, sql`${to} + ${TOLERANCE}`)) : undefined,
    to ? lte(table.created_at, to) : undefined,
  );
}

function boundary(prefix: IdPrefix, time: SQL): SQL<string> {
  return sql<string>`${prefix}::text || lpad(to_hex((extract(epoch from ${time}) * 1000)::bigint), 12, '0')`;
}

export function toTime(time: Date | SQL): SQL {
  return time instanceof Date ? sql`${time.toISOString()}::timestamptz` : time;
}
