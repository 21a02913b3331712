// A pool of connections to Postgres with the tables' types. The caller ends it.

import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js';
import postgres, { type Sql } from 'postgres';
import { AttuneError } from '../error.ts';
import * as schema from './schema.ts';

export type Database = PostgresJsDatabase<typeof schema>;
export type Connection = {
  url: string;
  db: Database;
  /** the driver itself, for LISTEN */
  sql: Sql;
  close(): Promise<void>;
};

export function connect(url: string, options: { max?: number; name?: string; fetchTypes?: boolean } = {}): Connection {
  const sql = postgres(url, {
    max: options.max ?? 10,
    // Types of one's own would be asked for on each new connection: a Worker has one for each request.
    fetch_types: options.fetchTypes ?? true,
    connect_timeout: 10,
    onnotice: () => {},
    connection: { application_name: options.name ?? 'attune' },
  });
  return { url, db: drizzle(sql, { schema }), sql, close: () => sql.end({ timeout: 5 }) };
}

const UNREACHABLE = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'CONNECTION_CLOSED',
  'CONNECTION_ENDED',
  'CONNECT_TIMEOUT',
  'CONNECTION_DESTROYED',
  'ENOTFOUND',
  'EPIPE',
]);
/** Postgres's own classes: 08 connection, 57P admin shutdown and crash, 53 out of resources. */
/** 58000 is what Hyperdrive says where its pool is full or the origin refuses. */
const UNREACHABLE_STATE = /^(08|57P|53|58000$)/;
/** What workerd's sockets say; their errors have no code. */
const UNREACHABLE_WORDS = /^(connection attempt failed|Network connection lost|proxy request failed)/;

/** Whether an error says that Postgres cannot be reached or cannot take work now; drizzle wraps the driver's error. */
export function isUnreachable(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    const code = (at as { code?: unknown }).code;
    if (typeof code === 'string' && (UNREACHABLE.has(code) || UNREACHABLE_STATE.test(code))) return true;
    if (UNREACHABLE_WORDS.test(at.message)) return true;
    if (at instanceof AggregateError && at.errors.some(isUnreachable)) return true;
  }
  return false;
}

/** Postgres's error code of a violated unique index or primary key. */
export function isDuplicate(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) if ((at as { code?: unknown }).code === '23505') return true;
  return false;
}

export function unavailable(): AttuneError {
  return new AttuneError('Postgres cannot be reached; nothing was stored. Try again shortly.', {
    status: 503,
    code: 'postgres_unavailable',
  });
}
