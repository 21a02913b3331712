// Brings a database up to this version's tables. Safe when several processes start at once: one migrates, the others wait.

import { fileURLToPath } from 'node:url';
import { migrate } from 'drizzle-orm/postgres-js/migrator';
import { connect } from './connect.ts';
import { acquireLock, LOCKS } from './lock.ts';

export const MIGRATIONS = fileURLToPath(new URL('../../migrations', import.meta.url));

export async function migrateDatabase(url: string): Promise<void> {
  const lock = await acquireLock(url, LOCKS.migrate);
  const connection = connect(url, { max: 1, name: 'attune migrations' });
  try {
    await migrate(connection.db, { migrationsFolder: MIGRATIONS });
  } finally {
    await connection.close();
    await lock.release();
  }
}
