// A typed connection pool to Postgres: drizzle over pool.ts, which runs postgres.js.

import { PgPreparedQuery } from 'drizzle-orm/pg-core';
import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js';
import postgres, { type Sql } from 'postgres';
import { type Observed, Pool, type PoolLimits } from './pool.ts';
import type { DriverOptions } from './pooled-connection.ts';
import * as schema from './schema.ts';

export type Database = PostgresJsDatabase<typeof schema>;
export type Connection = {
  url: string;
  db: Database;
  /** the driver itself, for LISTEN and raw queries, with connections of its own */
  sql: Sql;
  observed: Readonly<Observed>;
  close(): Promise<void>;
};

type ConnectOptions = {
  max?: number;
  name?: string;
  /**
   * Bounds the waits of connections that serve requests: `server` asks Postgres to enforce them too, in parameters that
   * poolers refuse; `client` only gives up.
   */
  limits?: 'server' | 'client';
};

/** What Postgres enforces, in milliseconds. */
const SERVER_LIMITS = {
  statement_timeout: 15_000,
  lock_timeout: 5000,
  idle_in_transaction_session_timeout: 30_000,
};
/** A statement gets longer than Postgres allows it: then Postgres or the network is stalled, and the connection useless. */
const CLIENT_LIMITS: PoolLimits = { waitMs: 5000, statementMs: 20_000 };

// drizzle would put the SQL and the parameters of a failed statement, so prompts, into an error around the pool's own.
Object.assign(PgPreparedQuery.prototype, {
  queryWithCache: (_sql: string, _parameters: unknown[], query: () => Promise<unknown>) => query(),
});

/** Opens no connection before the first query. The caller closes the pool. */
export function connect(url: string, options: ConnectOptions = {}): Connection {
  const { max = 10, name = 'attune', limits } = options;
  const driverOptions: DriverOptions = {
    // drizzle reads arrays itself. Fetching their types costs a query on each new connection, which the driver does not
    // await: if the connection is lost during it, the process ends.
    fetch_types: false,
    connect_timeout: 10,
    onnotice: () => {},
    connection: { application_name: name },
  };
  const connection = { application_name: name, ...(limits === 'server' ? SERVER_LIMITS : {}) };
  const pool = new Pool(url, { ...driverOptions, connection }, max, limits ? CLIENT_LIMITS : {});
  const sql = postgres(url, { ...driverOptions, max });
  return {
    url,
    db: drizzle(pool.client, { schema }),
    sql,
    observed: pool.observed,
    async close() {
      await Promise.all([pool.close(), sql.end({ timeout: 5 })]);
    },
  };
}
