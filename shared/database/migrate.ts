// Brings a database up to this version's tables. Safe when several processes start at once: one migrates, the others wait.

import { fileURLToPath } from 'node:url';
import { sql } from 'drizzle-orm';
import { migrate } from 'drizzle-orm/postgres-js/migrator';
import { connect, type Database } from './connect.ts';
import { acquireLock, LOCKS } from './lock.ts';
import { comparisons, completions, isChat, policies, preferences, rounds } from './schema.ts';

export const MIGRATIONS = fileURLToPath(new URL('../../migrations', import.meta.url));

export async function migrateDatabase(url: string): Promise<void> {
  const lock = await acquireLock(url, LOCKS.migrate);
  const connection = connect(url, { max: 1, name: 'attune migrations' });
  try {
    await migrate(connection.db, { migrationsFolder: MIGRATIONS });
    await resetFutureTransactions(connection.db);
  } finally {
    await connection.close();
    await lock.release();
  }
}

/**
 * A dump restored into another server may name transactions that are still in that server's future: lists would hide their
 * rows until they have passed. Such rows become this transaction's. Each condition is one look into an index.
 */
async function resetFutureTransactions(db: Database): Promise<void> {
  const isFuture = sql`xid >= pg_snapshot_xmax(pg_current_snapshot())`;
  for (const table of [comparisons, policies, preferences, rounds])
    await db.execute(sql`update ${table} set xid = default where ${isFuture}`);
  await db.execute(sql`update ${completions} set xid = default where ${isChat} and ${isFuture}`);
}
