// Brings a database to this version's tables. Safe when several processes start at once: one migrates, the others wait.

import { fileURLToPath } from 'node:url';
import { migrate } from 'drizzle-orm/postgres-js/migrator';
import { connect } from './connect.ts';

const FOLDER = fileURLToPath(new URL('../../migrations', import.meta.url));
/** Any number that no one else uses as an advisory lock in this database: "attune" on a telephone's keys. */
const LOCK = 288863;

export async function migrateDatabase(url: string): Promise<void> {
  const connection = connect(url, { max: 1, name: 'attune migrations' });
  try {
    // Session-level on the pool's only connection, so a killed process releases it.
    await connection.sql`select pg_advisory_lock(${LOCK})`;
    await migrate(connection.db, { migrationsFolder: FOLDER });
    await connection.sql`select pg_advisory_unlock(${LOCK})`;
  } finally {
    await connection.close();
  }
}
