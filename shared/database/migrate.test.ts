// Migrations of rows that earlier versions wrote.
import assert from 'node:assert/strict';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { eq } from 'drizzle-orm';
import { countPreferences } from '../preferences/store.ts';
import { type Connection, connect } from './connect.ts';
import { openPostgres } from './embedded.ts';
import { selectGenerations } from './generations.ts';
import { applyMigrations, migrateDatabase, readMigrations } from './migrate.ts';
import { completions, generations, idempotency_keys, preferences } from './schema.ts';

const home = await mkdtemp(path.join(tmpdir(), 'attune-migrate-'));
await chmod(home, 0o755);
const server = await openPostgres(home);
after(async () => {
  await server.leave();
  await rm(home, { recursive: true, force: true });
});

/** An empty database of its own; closed after the tests. */
async function openDatabase(name: string): Promise<Connection> {
  const admin = connect(server.url, { max: 1 });
  await admin.sql`create database ${admin.sql(name)}`;
  await admin.close();
  const connection = connect(server.url.replace(/[^/]*$/, name));
  after(() => connection.close());
  return connection;
}

/** Applies only the first `count` migrations. */
async function migrateTo(count: number, { sql }: Connection): Promise<void> {
  await sql.begin((transaction) => applyMigrations(transaction, readMigrations().slice(0, count)));
}

test('an older version refuses to run on the tables of a newer one, and names both', async () => {
  const { sql, url } = await openDatabase('newer');
  const newer = { name: '9999_newer', sql: ['create table newer (id int)'], bps: true, folderMillis: 9e12, hash: 'x' };
  await sql.begin((transaction) => applyMigrations(transaction, [...readMigrations(), newer]));
  const before = await sql`select * from drizzle.__drizzle_migrations order by id`;
  await assert.rejects(migrateDatabase(url), {
    name: 'AttuneError',
    code: 'newer_schema',
    message:
      /^Postgres has the tables of Attune \S+ \(9999_newer\), and this is Attune \S+ \(\d{4}_\w+\); run that version, or restore/,
  });
  assert.deepEqual(await sql`select * from drizzle.__drizzle_migrations order by id`, before);
});

test('rollbacks and resumed rounds of earlier versions get their columns filled', async () => {
  const connection = await openDatabase('rollbacks');
  const { sql, url } = connection;
  await migrateTo(3, connection);
  await sql`insert into policies (id, name, manifest) select 'pol_' || name, name, '{}' from unnest(array['a', 'b']) name`;
  await sql`insert into activations (policy_id, reason) values
    ('pol_a', 'default'), ('pol_b', 'promoted'), ('pol_a', 'rollback from pol_b'), ('pol_b', 'published by round_1')`;
  await sql`insert into rounds (id, trigger, settings, started_at, status) values
    ('round_0', 'api', '{}', null, 'queued'), ('round_1', 'api', '{}', now(), 'succeeded'), ('round_2', 'api', '{}', now(), 'running')`;
  await sql`insert into round_events (round_id, level, type, message, data) values
    ('round_2', 'info', 'stage', 'selecting', '{}'),
    ('round_2', 'warn', 'message', 'taken up again', '{"taken_up": 1}'),
    ('round_2', 'warn', 'message', 'taken up again', '{"taken_up": 2}')`;
  await migrateDatabase(url);
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

test('idempotency keys of earlier versions belong to the paths of their operations, and a round keeps one policy', async () => {
  const connection = await openDatabase('keys');
  const { sql, url } = connection;
  await migrateTo(4, connection);
  await sql`insert into idempotency_keys (key, request_hash, response)
    values ('preferences:k', 'h', '{}'), ('comparisons:k', 'h', '{}'), ('comparisons:a:b', 'h', '{}')`;
  await sql`insert into rounds (id, trigger, settings, policy_id) values ('round_1', 'api', '{}', 'pol_2'), ('round_2', 'api', '{}', null)`;
  await sql`insert into policies (id, name, manifest, round_id) values ('pol_1', 'a', '{}', 'round_1'),
    ('pol_2', 'a', '{}', 'round_1'), ('pol_3', 'a', '{}', 'round_2'), ('pol_4', 'a', '{}', 'round_2'), ('pol_5', 'a', '{}', null)`;
  await migrateDatabase(url);
  assert.deepEqual(
    [...(await sql`select caller, operation, key from idempotency_keys order by operation, key`)],
    [
      { caller: 'anonymous', operation: '/v1/comparisons', key: 'a:b' },
      { caller: 'anonymous', operation: '/v1/comparisons', key: 'k' },
      { caller: 'anonymous', operation: '/v1/preferences', key: 'k' },
    ],
  );
  const published = await sql`select id, round_id from policies where round_id is not null order by id`;
  assert.deepEqual(
    [...published],
    [
      { id: 'pol_2', round_id: 'round_1' },
      { id: 'pol_4', round_id: 'round_2' },
    ],
  );
});

test('what choices share moves to their completion, and prompts that were stored as they had been read are mended', async () => {
  const connection = await openDatabase('completions');
  const { sql, db, url } = connection;
  await migrateTo(5, connection);
  const prompts = { once: '"Once"', zero: '"0"', quoted: '"\\"q\\""', chat: '[{"role": "user", "content": "0"}]' };
  const insert = (id: string, completion: string, choice: number, prompt: string) =>
    sql`insert into generations (id, completion_id, choice, kind, policy_id, prompt, prompt_token_ids, text, token_ids, logps,
      stop_token, sampling, seed, finish_reason, "user", metadata, created_at)
      values (${id}, ${completion}, ${choice}, ${prompt.startsWith('[') ? 'chat' : 'text'}, 'pol_1', ${prompt}::text::jsonb,
      '{5,6}', ${`text of ${id}`}, '{7,8}', '{-1,-2}', 2, '{"top_p": 1}', 9, 'stop', 'ann', '{"k": "1"}', '2026-01-02')`;
  await insert('one', 'one', 0, prompts.once);
  await insert('two', 'one', 1, prompts.once);
  // The first choice of this completion was interrupted before its first token.
  await insert('four', 'three', 1, prompts.zero);
  await insert('five', 'five', 0, prompts.quoted);
  await insert('six', 'six', 0, prompts.quoted);
  await insert('seven', 'seven', 0, prompts.chat);
  await sql`insert into comparisons (id, prompt, a_generation_id, b_generation_id, swapped)
    values ('cmp_1', ${prompts.quoted}::text::jsonb, 'five', 'six', false)`;
  const prefer = (id: string, prompt: string, comparison: string | null, generation: string | null, source: string) =>
    sql`insert into preferences (id, source, comparison_id, choice, rater, prompt, chosen, rejected, chosen_generation_id,
      content_hash) values (${id}, ${source}, ${comparison}, 'a', 'ann', ${prompt}::text::jsonb, 'x', 'y', ${generation}, ${id})`;
  await prefer('pref_1', '"q"', 'cmp_1', 'five', 'comparison');
  await prefer('pref_2', '0', null, 'four', 'generations');
  await prefer('pref_3', '"0"', null, null, 'raw');
  await prefer('pref_4', prompts.once, null, 'one', 'generations');
  await sql`insert into idempotency_keys (operation, key, request_hash, response)
    values ('/v1/preferences', 'k', 'h', '{"id": "pref_2", "prompt": 0, "choice": "a"}')`;

  await migrateDatabase(url);
  const shared = {
    policy_id: 'pol_1',
    prompt_token_ids: [5, 6],
    sampling: { top_p: 1 },
    seed: 9,
    user: 'ann',
    metadata: { k: '1' },
    regenerated_from: null,
    canary_id: null,
    tenant: 'default',
    created_by: 'unknown',
    redacted: false,
    erased_at: null,
    created_at: new Date('2026-01-02T00:00:00Z'),
  };
  const stored = await db.select().from(completions).orderBy(completions.id);
  assert.deepEqual(
    stored.map(({ xid, ...row }) => row),
    [
      { id: 'five', kind: 'comparison', prompt: '"q"', ...shared },
      { id: 'one', kind: 'text', prompt: 'Once', ...shared },
      { id: 'seven', kind: 'chat', prompt: [{ role: 'user', content: '0' }], ...shared },
      { id: 'six', kind: 'comparison', prompt: '"q"', ...shared },
      { id: 'three', kind: 'text', prompt: '0', ...shared },
    ],
  );
  const [second] = await selectGenerations(db).where(eq(generations.id, 'two'));
  assert.deepEqual(second, {
    ...{ id: 'two', completion_id: 'one', choice: 1, kind: 'text', prompt: 'Once', ...shared },
    ...{ text: 'text of two', token_ids: [7, 8], logps: [-1, -2], stop_token: 2, finish_reason: 'stop' },
  });
  assert.equal(await db.$count(generations), 6);
  const mended = await db.select().from(preferences).orderBy(preferences.id);
  assert.deepEqual(
    mended.map((row) => row.prompt),
    ['"q"', '0', '0', 'Once'],
  );
  const voters = await sql`select tenant, name from voters`;
  assert.deepEqual([...voters], [{ tenant: 'default', name: 'ann' }]);
  const facets = await sql`select tenant, facet, value, preference_id from preference_facets order by preference_id`;
  const ofPolicy = { tenant: 'default', facet: 'policy', value: 'pol_1' };
  assert.deepEqual(
    [...facets],
    ['pref_1', 'pref_2', 'pref_4'].map((preference_id) => ({ ...ofPolicy, preference_id })),
  );
  const [key] = await db.select().from(idempotency_keys);
  assert.deepEqual(key!.response, { id: 'pref_2', prompt: '0', choice: 'a' });
});

test('rows from before tenants are kept, in the tenant default, and stay countable', async () => {
  const connection = await openDatabase('tenants');
  const { sql, db, url } = connection;
  await migrateTo(13, connection);
  await sql`insert into completions (id, kind, policy_id, prompt, prompt_token_ids, sampling, seed, "user")
    values ('chatcmpl-1', 'chat', 'pol_1', '"p"', '{1}', '{}', 1, 'ann')`;
  await sql`insert into generations (id, completion_id, choice, text, token_ids, logps, finish_reason)
    values ('chatcmpl-1', 'chatcmpl-1', 0, 't', '{1}', '{0}', 'stop')`;
  await sql`insert into comparisons (id, prompt, a_generation_id, b_generation_id, swapped)
    values ('cmp_1', '"p"', 'chatcmpl-1', 'chatcmpl-1', false)`;
  // Two of one rater on the same texts, which could be stored until now.
  for (const id of ['pref_1', 'pref_2', 'pref_3'])
    await sql`insert into preferences (id, source, choice, rater, prompt, chosen, rejected, content_hash)
      values (${id}, 'raw', 'a', ${id === 'pref_3' ? 'bob' : 'ann'}, '"p"', 'x', 'y', 'h')`;
  const response = { id: `pref_${'1'.repeat(32)}`, chosen: { generation: `chatcmpl-${'2'.repeat(32)}` } };
  await sql`insert into idempotency_keys (operation, key, request_hash, response)
    values ('/v1/preferences', 'k', 'h', ${JSON.stringify(response)}::text::json)`;

  await migrateDatabase(url);
  for (const table of ['completions', 'comparisons', 'preferences']) {
    const rows = await sql`select distinct tenant, created_by, erased_at from ${sql(table)}`;
    assert.deepEqual([...rows], [{ tenant: 'default', created_by: 'unknown', erased_at: null }], table);
  }
  const counts = { total: 3, pairs_not_yet_seen: 3, raters: 2, by_choice: { a: 3 }, by_source: { raw: 3 } };
  assert.deepEqual(await countPreferences(db, 'default'), counts);
  const [key] = await db.select().from(idempotency_keys);
  assert.deepEqual(key!.resource_ids.toSorted(), [response.chosen.generation, response.id]);
  await sql`delete from preferences where id = 'pref_2'`;
  assert.equal((await countPreferences(db, 'default')).total, 2);
  const secrets = await sql`select name, length(value) as length from secrets order by name`;
  assert.deepEqual(
    [...secrets],
    [
      { name: 'held_out', length: 72 },
      { name: 'session', length: 72 },
    ],
  );
});

test('rows of a dump from a server with more transactions are not hidden from lists', async () => {
  const { sql, url } = await openDatabase('restored');
  await migrateDatabase(url);
  const future = '1000000000000';
  await sql`insert into rounds (id, trigger, settings, xid) values ('round_1', 'api', '{}', '5'), ('round_2', 'api', '{}', ${future})`;
  await sql`insert into policies (id, name, manifest, xid) values ('pol_1', 'a', '{}', ${future})`;
  await sql`insert into completions (id, kind, policy_id, prompt, prompt_token_ids, sampling, seed, xid)
    values ('chatcmpl-1', 'chat', 'pol_1', '"p"', '{1}', '{}', 1, ${future})`;
  await sql`insert into generations (id, completion_id, choice, text, token_ids, logps, finish_reason)
    values ('chatcmpl-1', 'chatcmpl-1', 0, 't', '{1}', '{0}', 'stop')`;
  await sql`insert into comparisons (id, prompt, a_generation_id, b_generation_id, swapped, xid)
    values ('cmp_1', '"p"', 'chatcmpl-1', 'chatcmpl-1', false, ${future})`;
  await sql`insert into preferences (id, source, choice, rater, prompt, chosen, rejected, content_hash, xid)
    values ('pref_1', 'raw', 'a', 'ann', '"p"', 'x', 'y', 'h', ${future})`;
  await migrateDatabase(url);
  for (const table of ['rounds', 'policies', 'completions', 'comparisons', 'preferences']) {
    const hidden = await sql`select id from ${sql(table)} where xid >= pg_snapshot_xmin(pg_current_snapshot())`;
    assert.deepEqual([...hidden], [], table);
  }
  assert.deepEqual([...(await sql`select id from rounds order by xid`)], [{ id: 'round_1' }, { id: 'round_2' }]);
  assert.deepEqual([...(await sql`select xid from rounds where id = 'round_1'`)], [{ xid: '5' }]);
});
