// Brings a database up to this version's tables. Safe when several processes start at once: one migrates, the others wait.
// The files and the table of applied migrations are drizzle's; its migrator knows no newer schema and no last migration.

import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { inArray, type SQL, sql } from 'drizzle-orm';
import { type MigrationMeta, readMigrationFiles } from 'drizzle-orm/migrator';
import type { PgTable } from 'drizzle-orm/pg-core';
import type { TransactionSql } from 'postgres';
import packageJson from '../../package.json' with { type: 'json' };
import { AttuneError } from '../error.ts';
import { connect, type Database } from './connect.ts';
import { acquireLock, LOCKS } from './lock.ts';
import {
  api_keys,
  audit_events,
  comparisons,
  completions,
  erasures,
  isChat,
  policies,
  preferences,
  raters,
  rounds,
} from './schema.ts';

const MIGRATIONS = fileURLToPath(new URL('../../migrations', import.meta.url));

export async function migrateDatabase(url: string): Promise<void> {
  const lock = await acquireLock(url, LOCKS.migrate);
  const connection = connect(url, { max: 1, name: 'attune migrations' });
  try {
    await connection.sql.begin((transaction) => applyMigrations(transaction));
    await resetFutureTransactions(connection.db);
  } finally {
    await connection.close();
    await lock.release();
  }
}

export type Migration = MigrationMeta & { name: string };

/** In order of their `folderMillis`. */
export function readMigrations(folder = MIGRATIONS): Migration[] {
  const { entries } = JSON.parse(readFileSync(path.join(folder, 'meta', '_journal.json'), 'utf8')) as {
    entries: { tag: string }[];
  };
  return readMigrationFiles({ migrationsFolder: folder }).map((file, at) => ({ ...file, name: entries[at]!.tag }));
}

/** Applies those that the database has not had. Throws `newer_schema` if it has had one that is not among them. */
export async function applyMigrations(transaction: TransactionSql, migrations = readMigrations()): Promise<void> {
  await transaction`create schema if not exists drizzle`;
  await transaction`
    create table if not exists drizzle.__drizzle_migrations (id serial primary key, hash text not null, created_at bigint)`;
  const [applied] = await transaction`
    select max(created_at)::float8 as last, obj_description('drizzle.__drizzle_migrations'::regclass, 'pg_class') as version
    from drizzle.__drizzle_migrations`;
  const newest = migrations.at(-1)!;
  const last = applied?.last ?? 0;
  if (last > newest.folderMillis)
    throw newerSchema(`Postgres has the tables of ${applied?.version ?? 'a newer version'}`, newest);
  for (const migration of migrations) {
    if (migration.folderMillis <= last) continue;
    for (const statement of migration.sql) await transaction.unsafe(statement);
    const { hash, folderMillis } = migration;
    await transaction`insert into drizzle.__drizzle_migrations (hash, created_at) values (${hash}, ${folderMillis})`;
  }
  // For an older version, which does not know the migration.
  if (last < newest.folderMillis)
    await transaction.unsafe(`comment on table drizzle.__drizzle_migrations is '${describeVersion(newest)}'`);
}

/** `Attune 0.1.0 (0005_completions)` */
export function describeVersion({ name }: Migration): string {
  return `Attune ${packageJson.version} (${name})`;
}

/** `found`: what was found, and of which version it is. */
export function newerSchema(found: string, newest: Migration): AttuneError {
  return new AttuneError(
    `${found}, and this is ${describeVersion(newest)}; run that version, or restore a backup of this one into an empty database`,
    { status: 503, code: 'newer_schema', retry: false },
  );
}

/**
 * A dump restored into another server may name transactions that are still in that server's future: lists would hide their
 * rows until they have passed. Such rows become this transaction's. Each condition is one look into
 * an index.
 */
async function resetFutureTransactions(db: Database): Promise<void> {
  const isFuture = sql`xid >= pg_snapshot_xmax(pg_current_snapshot())`;
  for (const table of [api_keys, audit_events, erasures, policies, preferences, rounds])
    await db.execute(sql`update ${table} set xid = default where ${isFuture}`);
  // Their indexes begin with the tenant.
  for (const [table, filter] of [
    [comparisons, sql`true`],
    [completions, isChat],
    [raters, sql`true`],
  ] as const) {
    const tenants = await listTenants(db, table, filter);
    if (tenants.length > 0)
      await db.execute(
        sql`update ${table} set xid = default where ${inArray(sql`tenant`, tenants)} and ${filter} and ${isFuture}`,
      );
  }
}

/** With one look into the index for each of them. */
async function listTenants(db: Database, table: PgTable, filter: SQL): Promise<string[]> {
  const rows = await db.execute<{ tenant: string }>(sql`
    with recursive tenants as (
      (select tenant from ${table} where ${filter} order by tenant limit 1)
      union all
      select (select tenant from ${table} where ${filter} and tenant > tenants.tenant order by tenant limit 1)
      from tenants where tenant is not null
    ) select tenant from tenants where tenant is not null`);
  return rows.map(({ tenant }) => tenant);
}
