// Migrations of rows that earlier versions wrote.
import assert from 'node:assert/strict';
import { chmod, cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { migrate } from 'drizzle-orm/postgres-js/migrator';
import { connect } from './connect.ts';
import { openPostgres } from './embedded.ts';
import { MIGRATIONS, migrateDatabase } from './migrate.ts';

const home = await mkdtemp(path.join(tmpdir(), 'attune-migrate-'));
await chmod(home, 0o755);
const server = await openPostgres(home);
const connection = connect(server.url);
const { sql } = connection;
after(async () => {
  await connection.close();
  await server.leave();
  await rm(home, { recursive: true, force: true });
});

/** The migrations folder with only the first `count` migrations in its journal. */
async function firstMigrations(count: number): Promise<string> {
  const folder = path.join(home, 'migrations');
  await cp(MIGRATIONS, folder, { recursive: true });
  const file = path.join(folder, 'meta', '_journal.json');
  const journal = JSON.parse(await readFile(file, 'utf8'));
  await writeFile(file, JSON.stringify({ ...journal, entries: journal.entries.slice(0, count) }));
  return folder;
}

test('rollbacks and resumed rounds of earlier versions get their columns filled', async () => {
  await migrate(connection.db, { migrationsFolder: await firstMigrations(3) });
  await sql`insert into policies (id, name, manifest) select 'pol_' || name, name, '{}' from unnest(array['a', 'b']) name`;
  await sql`insert into activations (policy_id, reason) values
    ('pol_a', 'default'), ('pol_b', 'promoted'), ('pol_a', 'rollback from pol_b'), ('pol_b', 'published by round_1')`;
  await sql`insert into rounds (id, trigger, settings, started_at, status) values
    ('round_0', 'api', '{}', null, 'queued'), ('round_1', 'api', '{}', now(), 'succeeded'), ('round_2', 'api', '{}', now(), 'running')`;
  await sql`insert into round_events (round_id, level, type, message, data) values
    ('round_2', 'info', 'stage', 'selecting', '{}'),
    ('round_2', 'warn', 'message', 'taken up again', '{"taken_up": 1}'),
    ('round_2', 'warn', 'message', 'taken up again', '{"taken_up": 2}')`;
  await migrateDatabase(server.url);
  const restored = await sql`select restores_id from activations order by id`;
  assert.deepEqual(
    restored.map((row) => row.restores_id && Number(row.restores_id)),
    [null, null, 1, null],
  );
  const attempts = await sql`select attempts from rounds order by id`;
  assert.deepEqual(
    attempts.map((row) => row.attempts),
    [0, 1, 3],
  );
});
