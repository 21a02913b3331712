// A real, empty database with all migrations for a test; it is removed after the test.

import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after } from 'node:test';
import { eq } from 'drizzle-orm';
import { type Connection, connect, type Database } from '../shared/database/connect.ts';
import { openPostgres } from '../shared/database/embedded.ts';
import { migrateDatabase } from '../shared/database/migrate.ts';
import { secrets } from '../shared/database/schema.ts';

export async function openTestDatabase(): Promise<Connection> {
  const home = await mkdtemp(path.join(tmpdir(), 'attune-database-'));
  await chmod(home, 0o755);
  const server = await openPostgres(home);
  await migrateDatabase(server.url);
  const connection = connect(server.url, { name: 'attune test', max: 12 });
  await fixHeldOutPrompts(connection.db);
  after(async () => {
    await connection.close();
    await server.leave();
    await rm(home, { recursive: true, force: true });
  });
  return connection;
}

/** So that the same prompts are held out in every run of a test: about a fifth, also of the few prompts that a test has. */
export async function fixHeldOutPrompts(db: Database): Promise<void> {
  await db.update(secrets).set({ value: 'test 15182' }).where(eq(secrets.name, 'held_out'));
}
