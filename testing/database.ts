// A real, empty database with all migrations for a test; it is removed after the test.

import { rm } from 'node:fs/promises';
import { after } from 'node:test';
import { type Connection, connect } from '../shared/database/connect.ts';
import { openPostgres } from '../shared/database/embedded.ts';
import { makePostgresHome } from './postgres-home.ts';

export async function openTestDatabase(): Promise<Connection> {
  const home = await makePostgresHome('database');
  const server = await openPostgres(home);
  const connection = connect(server.url, { name: 'attune test', max: 12 });
  after(async () => {
    await connection.close();
    await server.leave();
    await rm(home, { recursive: true, force: true });
  });
  return connection;
}
