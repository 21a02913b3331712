import assert from 'node:assert/strict';
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from './connect.ts';
import { openPostgres } from './embedded.ts';
import { migrateDatabase } from './migrate.ts';

async function temporaryHome(context: { after(fn: () => Promise<void>): void }): Promise<string> {
  const home = await mkdtemp(path.join(tmpdir(), 'attune-postgres-'));
  await chmod(home, 0o755);
  context.after(() => rm(home, { recursive: true, force: true }));
  return home;
}

test('concurrent starts share one server, which the last one to leave stops', async (context) => {
  const home = await temporaryHome(context);
  const [first, second] = await Promise.all([openPostgres(home), openPostgres(home)]);
  assert.equal(first.url, second.url);
  const connection = connect(second.url);
  assert.equal((await connection.sql`select version()`)[0]?.version.startsWith('PostgreSQL 18'), true);
  await first.leave();
  assert.equal((await connection.sql`select 1 as one`)[0]?.one, 1);
  await connection.close();
  await second.leave();
  const afterStop = connect(second.url, { max: 1 });
  await assert.rejects(async () => afterStop.sql`select 1`);
  await afterStop.close();
});

test('a killed server is restarted on its port with all committed data', async (context) => {
  const home = await temporaryHome(context);
  const server = await openPostgres(home);
  const connection = connect(server.url);
  await connection.sql`create table kept (n int)`;
  await connection.sql`insert into kept values (7)`;
  const pid = Number((await readFile(path.join(home, 'postgres/data/postmaster.pid'), 'utf8')).split('\n')[0]);
  process.kill(pid, 'SIGKILL');
  let rows: unknown[] = [];
  for (let attempt = 0; attempt < 100 && rows.length === 0; attempt++) {
    await sleep(100);
    rows = await connection.sql`select n from kept`.then(
      (found) => [...found],
      () => [],
    );
  }
  assert.deepEqual(rows, [{ n: 7 }]);
  await connection.close();
  await server.leave();
});

test('migrations run once when several processes start at once', async (context) => {
  const home = await temporaryHome(context);
  const server = await openPostgres(home);
  await Promise.all([1, 2, 3].map(() => migrateDatabase(server.url)));
  const connection = connect(server.url);
  assert.deepEqual([...(await connection.sql`select count(*)::int as n from policies`)], [{ n: 0 }]);
  await connection.close();
  await server.leave();
});
