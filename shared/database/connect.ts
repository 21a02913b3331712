// A typed connection pool to Postgres: drizzle over postgres.js.

import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js';
import postgres, { type Sql } from 'postgres';
import * as schema from './schema.ts';

export type Database = PostgresJsDatabase<typeof schema>;
export type Connection = {
  url: string;
  db: Database;
  /** the driver itself, for LISTEN and raw queries */
  sql: Sql;
  close(): Promise<void>;
};

/** Opens no connection before the first query. The caller closes the pool. */
export function connect(url: string, options: { max?: number; name?: string; fetchTypes?: boolean } = {}): Connection {
  const sql = postgres(url, {
    max: options.max ?? 10,
    // Fetching array types costs a query on each new connection, and a Worker opens one for each request.
    fetch_types: options.fetchTypes ?? true,
    connect_timeout: 10,
    onnotice: () => {},
    connection: { application_name: options.name ?? 'attune' },
  });
  return { url, db: drizzle(sql, { schema }), sql, close: () => sql.end({ timeout: 5 }) };
}
