// A real, empty database with all migrations for a test; it is removed after the test.

import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after } from 'node:test';
import { type Connection, connect } from '../shared/database/connect.ts';
import { openPostgres } from '../shared/database/embedded.ts';
import { migrateDatabase } from '../shared/database/migrate.ts';

export async function openTestDatabase(): Promise<Connection> {
  const home = await mkdtemp(path.join(tmpdir(), 'attune-database-'));
  await chmod(home, 0o755);
  const server = await openPostgres(home);
  await migrateDatabase(server.url);
  const connection = connect(server.url, { name: 'attune test', max: 12 });
  after(async () => {
    await connection.close();
    await server.leave();
    await rm(home, { recursive: true, force: true });
  });
  return connection;
}
