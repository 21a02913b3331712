// Inserts many rows with one parameter, as JSON. Tens of thousands of rows with a parameter for each value take drizzle longer
// to write than Postgres to store.

import { type SQL, sql } from 'drizzle-orm';
import type { PgTable } from 'drizzle-orm/pg-core';

/**
 * Of rows that have the same fields, at least one; other columns get their defaults. Texts must be storable as JSON
 * (shared/storable.ts). What is to follow, such as `on conflict do nothing`, is appended to it.
 */
export function insertRows<T extends PgTable>(table: T, rows: T['$inferInsert'][]): SQL {
  const columns = sql.join(
    Object.keys(rows[0]!).map((field) => sql.identifier(field)),
    sql`, `,
  );
  return sql`insert into ${table} (${columns})
    select ${columns} from jsonb_populate_recordset(null::${table}, ${JSON.stringify(rows)}::jsonb)`;
}
