// Backups made while the API serves and a round trains, restored into empty folders and databases.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { eq } from 'drizzle-orm';
import { verifyArchive } from '../cli/backup/archive.ts';
import { restoreBackup } from '../cli/backup/restore-backup.ts';
import { writeBackup } from '../cli/backup/write-backup.ts';
import { startEdge } from '../edge/node.ts';
import { type Connection, connect } from '../shared/database/connect.ts';
import { openPostgres } from '../shared/database/embedded.ts';
import { type Migration, readMigrations } from '../shared/database/migrate.ts';
import { new_pairs, policies, preferences, round_events, rounds } from '../shared/database/schema.ts';
import { requestRound } from '../shared/rounds/schedule.ts';
import { readSettings } from '../shared/settings.ts';
import { openLocalStore, policiesFolder } from '../shared/store/local-store.ts';
import { type Json, startEdgeServer } from '../testing/edge-server.ts';
import { runNextRound } from '../trainer/main.ts';

const TRAINING = { LEARNING_RATE: '0.003', TRAIN_THREADS: '1', TRAIN_MEMORY: String(2 ** 30), BATCH_PAIRS: '8' };
const CLI = fileURLToPath(new URL('../cli.ts', import.meta.url));
const server = await startEdgeServer(TRAINING);
const { db } = server.connection;

const folder = await mkdtemp(path.join(tmpdir(), 'attune-backup-'));
// Postgres does not run as root and must be able to enter it.
await chmod(folder, 0o755);
after(() => rm(folder, { recursive: true, force: true }));
const quiet = path.join(folder, 'quiet.tar');
const ignore = () => {};

type Send = (
  target: string,
  json?: unknown,
  headers?: Record<string, string>,
) => Promise<{ status: number; body: Json }>;

const sendTo =
  (url: string): Send =>
  async (target, json, headers = {}) => {
    const response = await fetch(url + target, {
      ...(json === undefined ? {} : { method: 'POST', body: JSON.stringify(json) }),
      headers: { 'content-type': 'application/json', ...headers },
    });
    return { status: response.status, body: await response.json() };
  };
const send = sendTo(server.edge.url);

async function collect(send: Send, name: string, count = 30): Promise<void> {
  for (let at = 0; at < count; at++) {
    const vote = { prompt: `${name} ${at}:`, chosen: ' yes yes', rejected: ' no no', rater: 'test' };
    assert.equal((await send('/v1/preferences', vote)).status, 200);
  }
}

/** The whole of every list, and the totals. */
async function readEverything(send: Send): Promise<Json> {
  const contents: Json = { stats: (await send('/v1/preferences/stats')).body };
  for (const list of ['policies', 'rounds', 'preferences', 'comparisons', 'chat/completions']) {
    const { status, body } = await send(`/v1/${list}?limit=100`);
    assert.equal(status, 200, JSON.stringify(body));
    contents[list] = body.data.sort((a: Json, b: Json) => (a.id < b.id ? -1 : 1));
  }
  for (const { id } of contents.rounds) contents[id] = (await send(`/v1/rounds/${id}/metrics`)).body;
  return contents;
}

/** An empty Postgres and home. */
async function openEmpty(name: string) {
  const home = path.join(folder, name);
  const postgres = await openPostgres(home);
  const connection = connect(postgres.url, { name: 'attune test', max: 2 });
  after(async () => {
    await connection.close();
    await postgres.leave();
  });
  return {
    connection,
    target: { settings: readSettings({ ATTUNE_HOME: home, PORT: '0', ...TRAINING }), databaseUrl: postgres.url },
  };
}

async function assertEmpty({ sql }: Connection, home: string): Promise<void> {
  assert.equal((await sql`select to_regclass('public.preferences') as name`)[0]!.name, null);
  assert.deepEqual(await readdir(policiesFolder({ ATTUNE_HOME: home })).catch(() => []), []);
}

const runCli = (args: string[], env: Record<string, string>) =>
  promisify(execFile)(process.execPath, [CLI, ...args], { env: { ...process.env, ...env } });

const ONCE = { prompt: 'Once', max_tokens: 8, seed: 5 };
const KEYED = { prompt: 'Keyed', chosen: ' a', rejected: ' b', rater: 'keyed' };
const KEY = { 'idempotency-key': 'backup-test' };
let comparison: Json;
let keyed: Json;

test('a backup under load has everything that was acknowledged before it', async () => {
  await collect(send, 'Learned');
  await requestRound(db, 'api', {});
  assert.equal(
    await runNextRound(server.connection, { settings: server.settings, store: server.localStore }, ignore),
    true,
  );
  comparison = (await send('/v1/comparisons', ONCE)).body;
  assert.equal((await send('/v1/preferences', { comparison: comparison.id, choice: 'a', rater: 'ann' })).status, 200);
  keyed = (await send('/v1/preferences', KEYED, KEY)).body;
  await collect(send, 'New', 40);
  await send('/v1/chat/completions', { messages: [{ role: 'user', content: '"0"' }], max_tokens: 4, store: true });

  let isOver = false;
  const acknowledged: string[] = [];
  const vote = async (client: number) => {
    for (let at = 0; !isOver; at++) {
      const { body } = await send('/v1/preferences', { ...KEYED, prompt: `Load ${client} ${at}` });
      acknowledged.push(body.id);
    }
  };
  const clients = [1, 2, 3, 4].map(vote);
  const { id } = await requestRound(db, 'api', { epochs: 10, early_stopping: 0 });
  const training = runNextRound(server.connection, { settings: server.settings, store: server.localStore }, ignore);
  const busy = path.join(folder, 'busy.tar');
  while (acknowledged.length < 50) await new Promise((resolve) => setTimeout(resolve, 10));
  const before = [...acknowledged];
  const report = await writeBackup(server.connection, server.localStore, busy);
  assert.equal(report.leftOut.size, 0);
  isOver = true;
  await Promise.all(clients);
  assert.equal(await training, true);

  const { connection, target } = await openEmpty('busy');
  const header = await verifyArchive(busy, ignore);
  await restoreBackup(busy, header, target);
  let rows = 0;
  for (const { name } of header.tables)
    rows += (await connection.sql`select count(*)::int from ${connection.sql(name)}`)[0]!.count;
  assert.equal(report.rows, rows);
  const restored = new Set((await connection.db.select({ id: preferences.id }).from(preferences)).map((row) => row.id));
  assert.deepEqual(
    before.filter((id) => !restored.has(id)),
    [],
  );
  // The ledgers that a trigger keeps are those of the same moment.
  assert.equal((await connection.sql`select sum(count)::int as total from preference_counts`)[0]!.total, restored.size);
  // A round that was running goes on.
  const trainer = { settings: target.settings, store: await openLocalStore(target.settings, connection.db) };
  while (await runNextRound(connection, trainer, ignore));
  const [round] = await connection.db.select().from(rounds).where(eq(rounds.id, id));
  assert.ok(['succeeded', undefined].includes(round?.status), round?.reason ?? '');
});

test('the commands back up a server and restore it into an empty folder, where it goes on', async () => {
  const made = await runCli(['backup', quiet], { DATABASE_URL: server.databaseUrl, ATTUNE_HOME: server.home });
  assert.match(made.stdout, /^wrote \d+ rows and \d policies into .*quiet\.tar \(\d+\.\d MiB at \d+\.\d MiB\/s\)$/m);
  assert.equal((await stat(quiet)).mode & 0o777, 0o600);
  assert.deepEqual(
    (await readdir(folder)).filter((name) => name.includes('partial')),
    [],
  );
  const home = path.join(folder, 'restored');
  const restored = await runCli(['restore', quiet], { ATTUNE_HOME: home, DATABASE_URL: '' });
  assert.match(restored.stdout, /^restored \d policies and all rows of the backup of \S+ by Attune \S+ \(\w+\)/m);

  const { target, connection } = await openEmpty('restored');
  const edge = await startEdge(target.settings, target.databaseUrl);
  after(() => edge.close());
  const sendRestored = sendTo(edge.url);
  assert.deepEqual(await readEverything(sendRestored), await readEverything(send));

  const [original, copy] = [await send('/v1/completions', ONCE), await sendRestored('/v1/completions', ONCE)];
  assert.equal(copy.body.model, original.body.model);
  assert.equal(copy.body.choices[0].text, original.body.choices[0].text);

  const second = { comparison: comparison.id, choice: 'b', rater: 'ann' };
  assert.equal((await sendRestored('/v1/preferences', second)).status, 409);
  assert.deepEqual((await sendRestored('/v1/preferences', KEYED, KEY)).body, keyed);

  const lastEvent = Math.max(...(await db.select({ id: round_events.id }).from(round_events)).map((row) => row.id));
  const newBefore = await connection.db.$count(new_pairs);
  assert.equal(newBefore, await db.$count(new_pairs));
  await collect(sendRestored, 'After');
  assert.equal(await connection.db.$count(new_pairs), newBefore + 30);
  const { id } = await requestRound(connection.db, 'api', {});
  const trainer = { settings: target.settings, store: await openLocalStore(target.settings, connection.db) };
  assert.equal(await runNextRound(connection, trainer, ignore), true);
  const [round] = await connection.db.select().from(rounds).where(eq(rounds.id, id));
  assert.equal(round!.status, 'succeeded', round!.reason ?? '');
  const events = await connection.db.select().from(round_events).where(eq(round_events.round_id, id));
  assert.ok(events.every((event) => event.id > lastEvent));
});

test('a damaged or cut file is refused by name before anything is restored', async () => {
  const bytes = await readFile(quiet);
  const damaged = path.join(folder, 'damaged.tar');
  const refuse = () => assert.rejects(verifyArchive(damaged, ignore), { code: 'damaged_backup' });
  for (const share of [0.1, 0.5, 0.9, 0.9999]) {
    await writeFile(damaged, bytes);
    await truncate(damaged, Math.floor(share * bytes.length));
    await refuse();
  }
  // Between entries: what remains is a valid tar.
  const end = bytes.lastIndexOf('checksums.json');
  await writeFile(damaged, Buffer.concat([bytes.subarray(0, end), Buffer.alloc(1024)]));
  await refuse();
  const rows = bytes.indexOf('tables/preferences/1');
  for (const at of [rows + 2000, Math.floor(bytes.length / 2), end + 600, rows + 3]) {
    const copy = Buffer.from(bytes);
    copy[at]! ^= 1;
    await writeFile(damaged, copy);
    await refuse();
  }
  for (const content of ['', 'not a backup', bytes.subarray(1000)]) {
    await writeFile(damaged, content);
    await assert.rejects(verifyArchive(damaged, ignore), { name: 'AttuneError', message: /^restore: / });
  }
  const missing = verifyArchive(path.join(folder, 'none.tar'), ignore);
  await assert.rejects(missing, { name: 'AttuneError', message: /^restore: ENOENT/ });
  const home = path.join(folder, 'untouched');
  const refused = await runCli(['restore', damaged], { ATTUNE_HOME: home, DATABASE_URL: '' }).catch((error) => error);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /^attune: restore: /m);
  await assert.rejects(stat(home), { code: 'ENOENT' });
});

test('a backup is restored only where nothing is, and replaces no file', async () => {
  const { settings, databaseUrl } = server;
  const header = await verifyArchive(quiet, ignore);
  const before = await db.$count(preferences);
  await assert.rejects(restoreBackup(quiet, header, { settings, databaseUrl }), {
    code: 'not_empty',
    message: /^restore: Postgres is not empty: it has the table \S+; give an ATTUNE_HOME without data/,
  });
  assert.equal(await db.$count(preferences), before);
  const write = (file: string) => writeBackup(server.connection, server.localStore, file);
  await assert.rejects(write(quiet), { message: /quiet\.tar exists already/ });
  const other = path.join(folder, 'other.tar');
  await writeFile(`${other}.partial`, '');
  await assert.rejects(write(other), { message: /other\.tar\.partial exists: another backup is running/ });
  await assert.rejects(write(path.join(folder, 'no', 'folder.tar')), { name: 'AttuneError', message: /ENOENT/ });
});

test('a restore that fails leaves an empty database, and can be repeated', async () => {
  const { connection, target } = await openEmpty('repeated');
  const header = await verifyArchive(quiet, ignore);
  const wrong = {
    ...header,
    tables: header.tables.map((table) => ({ ...table, columns: [...table.columns, 'none'] })),
  };
  await assert.rejects(restoreBackup(quiet, wrong, target));
  assert.equal((await connection.sql`select to_regclass('public.preferences') as name`)[0]!.name, null);
  await restoreBackup(quiet, header, target);
  assert.equal(await connection.db.$count(policies), await db.$count(policies));
});

test('a backup of an older version is migrated with its rows, and one of a newer version is refused', async () => {
  const newer: Migration = {
    name: '9999_newer',
    sql: ['alter table preferences add column judged text', 'update preferences set judged = choice'],
    bps: true,
    folderMillis: 9e12,
    hash: 'x',
  };
  const header = await verifyArchive(quiet, ignore);
  const { connection, target } = await openEmpty('older');
  const ofNewer = { ...header, migration: newer.folderMillis, version: 'Attune 9.9.9 (9999_newer)' };
  await assert.rejects(restoreBackup(quiet, ofNewer, target), {
    code: 'newer_schema',
    message: /quiet\.tar is a backup of Attune 9\.9\.9 \(9999_newer\), and this is Attune/,
  });
  await assertEmpty(connection, target.settings.ATTUNE_HOME);
  await restoreBackup(quiet, header, target, ignore, [...readMigrations(), newer]);
  const [counts] = await connection.sql`select count(*)::int as all, count(judged)::int as judged from preferences`;
  assert.deepEqual({ ...counts }, { all: await db.$count(preferences), judged: await db.$count(preferences) });
});

test('a policy whose package is damaged is left out by name, except the active one', async () => {
  const damaged = await server.importTiny(8);
  const file = path.join(server.home, 'policies', damaged, 'config.json');
  const config = await readFile(file);
  await writeFile(file, '{}');
  const store = await openLocalStore(server.settings, db);
  const report = await writeBackup(server.connection, store, path.join(folder, 'without.tar'));
  assert.match(report.leftOut.get(damaged) ?? '', /config\.json has 2 bytes/);
  await writeFile(file, config);

  const active = (await send('/health')).body.policy;
  const activeFile = path.join(server.home, 'policies', active, 'config.json');
  const activeConfig = await readFile(activeFile);
  await writeFile(activeFile, '{}');
  const failed = writeBackup(server.connection, await openLocalStore(server.settings, db), path.join(folder, 'no.tar'));
  await assert.rejects(failed, { code: 'damaged_policy' });
  await writeFile(activeFile, activeConfig);
  assert.deepEqual(
    (await readdir(folder)).filter((name) => name.startsWith('no.tar')),
    [],
  );
});
