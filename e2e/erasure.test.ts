// Texts of people in every way that they get in, a round that learns from them, and their erasure: afterwards they are in no
// table, file or log, and a replacement is trained from what is left.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { eq } from 'drizzle-orm';
import { preferences, round_pairs, rounds } from '../shared/database/schema.ts';
import { requestRound } from '../shared/rounds/schedule.ts';
import { readSettings } from '../shared/settings.ts';
import { activatePolicy, getActivePolicyId } from '../shared/store/registry.ts';
import { openEdgeProcesses } from '../testing/edge-processes.ts';
import type { Json } from '../testing/edge-server.ts';
import { listTablesWith } from '../testing/stored-rows.ts';
import { runNextRound } from '../trainer/main.ts';

const CLI = fileURLToPath(new URL('../cli.ts', import.meta.url));
const CANARY = 'Quetzalcoatl';
const GUARDS = { gate_kl: 1e6, gate_chosen_drop: 1e6, gate_length: 1e6, gate_repetition: 1, early_stopping: 0 };
const TRAINING = {
  LEARNING_RATE: '0.001',
  EPOCHS: '4',
  TRAIN_THREADS: '1',
  TRAIN_MEMORY: String(2 ** 30),
  BATCH_PAIRS: '8',
  GATE_KL: '1e6',
  GATE_CHOSEN_DROP: '1e6',
  GATE_LENGTH: '1e6',
  GATE_REPETITION: '1',
  EARLY_STOPPING: '0',
  // Few people, of whom one gave half of the pairs.
  TRAIN_RATER_SHARE: '1',
  TRAIN_SOURCE_SHARE: '1',
};

const { home, connection, localStore, importTiny, start } = await openEdgeProcesses();
const { db } = connection;
const settings = readSettings({ ATTUNE_HOME: home, ...TRAINING });
const root = await importTiny({ seed: 1 });
await activatePolicy(db, root, 'test');
const admin = 'an-admin-key';
const server = await start({ API_KEY: admin, ...TRAINING });
let commands = '';

async function request(
  target: string,
  json?: unknown,
  { key = admin, method, ...headers }: Record<string, string> = {},
) {
  const response = await fetch(server.url + target, {
    method: method ?? (json === undefined ? 'GET' : 'POST'),
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers },
    body: json === undefined ? null : typeof json === 'string' ? json : JSON.stringify(json),
  });
  const text = await response.text();
  assert.equal(response.status, 200, text);
  return text.startsWith('{') ? (JSON.parse(text) as Json) : text;
}

async function runCommand(...args: string[]): Promise<{ code: number | null; output: string }> {
  const env = { ...process.env, ...TRAINING, ATTUNE_HOME: home, DATABASE_URL: connection.url };
  const child = spawn(process.execPath, [CLI, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  commands += output;
  return { code, output };
}

/** Of ATTUNE_HOME, without Postgres's own, which frees deleted rows at its own pace. */
async function listFilesWith(text: string): Promise<string[]> {
  const entries = await readdir(home, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name));
  const own = files.filter((file) => !file.startsWith(path.join(home, 'postgres', 'data')));
  const found: string[] = [];
  for (const file of own) if ((await readFile(file)).includes(text)) found.push(file);
  return found;
}

const train = async (fromRoot = false) => {
  const { id } = await requestRound(db, 'api', { ...GUARDS }, { fromRoot });
  await runNextRound(connection, { settings, store: localStore }, () => {});
  return (await db.select().from(rounds).where(eq(rounds.id, id)))[0]!;
};
const sides = { chosen: ' yes yes', rejected: ' no no' };
let published = '';
let key: Json;
let generation = '';

test('texts come in through every operation, and a round learns from them', async () => {
  key = await request('/v1/keys', { name: 'a backend', scopes: ['generate', 'feedback', 'rate'] });
  const user = `user ${CANARY}`;
  const metadata = { note: CANARY };
  const messages = [{ role: 'user', content: `${CANARY} chats` }];
  const common = { max_tokens: 4, user, metadata };
  const once = (name: string) => ({ 'idempotency-key': `${CANARY} ${name}` });
  const chat = await request('/v1/chat/completions', { messages, ...common, stop: [CANARY], n: 2 }, once('chat'));
  await request('/v1/chat/completions', { messages, ...common, stream: true }, once('stream'));
  await request('/v1/completions', { prompt: `${CANARY} writes`, ...common }, once('text'));
  const comparison = await request('/v1/comparisons', { prompt: `${CANARY} compares`, ...common }, once('comparison'));
  const said = { comment: CANARY, tags: [CANARY], rater: 'bob' };
  const vote = { comparison: comparison.id, choice: 'a', ...said, edit: `${CANARY} edits`, metadata };
  await request('/v1/preferences', vote, once('vote'));
  await request('/v1/feedback', { generation: chat.id, ...said, demonstration: `${CANARY} shows` }, once('feedback'));
  const free = await request('/v1/completions', { prompt: `${CANARY} is free`, max_tokens: 4, metadata });
  generation = free.choices[0].generation_id;
  await request('/v1/feedback', { generation, thumb: 1, rater: user });
  for (let at = 0; at < 40; at++) {
    await request('/v1/preferences', { prompt: `${CANARY} ${at}:`, ...sides, rater: user, metadata });
    await request('/v1/preferences', { prompt: `kept ${at}:`, ...sides, rater: 'bob' });
  }
  const own = { key: key.key };
  await request('/v1/preferences', { prompt: `${CANARY} of a key`, ...sides, rater: `${CANARY} x`, metadata }, own);
  const row = { prompt: `${CANARY} imported`, ...sides, rater: `imported ${CANARY}`, metadata };
  await request('/v1/preferences/import', `${JSON.stringify(row)}\n`, { 'content-type': 'application/jsonl' });
  assert.deepEqual(
    await listTablesWith(db, CANARY),
    ['comparisons', 'completions', 'feedback', 'idempotency_keys', 'preferences', 'voters'].map(
      (table) => `public.${table}`,
    ),
  );

  const round = await train();
  assert.equal(round.stage, 'active', round.reason ?? '');
  published = round.policy_id!;
  assert.equal((await runCommand('train', '--without-erased')).code, 1);
  assert.match(commands, /--without-erased: pol_\w+, the active policy, has learned nothing that was erased since;/);
});

test('after erasures by user, rater, key and generation the texts are in no table, file or log', async () => {
  const byUser = await request('/v1/erasures', { user: `user ${CANARY}` });
  assert.deepEqual(byUser.erased, { completions: 4, comparisons: 1, preferences: 43, feedback: 2 });
  const byRater = await runCommand('erasures', 'create', '--rater', `import:imported ${CANARY}`);
  assert.match(byRater.output, /Z {2}rater +default +0 +0 +1 /);
  await request('/v1/erasures', { key: key.id });
  await request('/v1/erasures', { generation });

  assert.deepEqual(await listTablesWith(db, CANARY), []);
  assert.deepEqual(await listFilesWith(CANARY), []);
  assert.doesNotMatch(server.output() + commands, new RegExp(CANARY));
  const erasure = await request(`/v1/erasures/${byUser.id}`);
  assert.deepEqual(erasure.policies, [{ id: published, relation: 'active' }]);
  assert.equal(erasure.active_policy_learned, true);
  assert.match(erasure.advice, /`attune train --without-erased` trains its replacement/);
  assert.match(
    (await runCommand('erasures', 'list')).output,
    new RegExp(`^${byUser.id} .* ${published} \\(active\\)`, 'm'),
  );
  const lineage = await request(`/v1/policies/${published}/lineage`);
  const raters = (lineage.data[0].raters as { rater: string }[]).map(({ rater }) => rater);
  assert.deepEqual(raters.toSorted(), ['erased', 'user:bob']);
});

test('a replacement has learned nothing that was erased, and an operator may choose one that is not better', async () => {
  const { code, output } = await runCommand('train', '--without-erased');
  assert.equal(code, 0, output);
  const replacement = /round_\w+: (?:published )?(pol_\w+)(?:;| published, not active:)/.exec(output)![1]!;
  const [round] = await db.select().from(rounds).where(eq(rounds.policy_id, replacement));
  assert.deepEqual([round!.parent_id, round!.baseline_id, round!.from_root], [root, published, true]);
  const { data: events } = await request('/v1/audit?limit=100');
  const requested = events.filter(({ action }: Json) => action === 'round.requested');
  assert.deepEqual(
    requested.map(({ actor, target }: Json) => [actor, target]),
    [['command', round!.id]],
  );
  const used = await db
    .select({ erased: preferences.erased_at })
    .from(round_pairs)
    .innerJoin(preferences, eq(preferences.id, round_pairs.preference_id))
    .where(eq(round_pairs.round_id, round!.id));
  assert.ok(used.length >= 30, `${used.length}`);
  assert.ok(used.every(({ erased }) => erased === null));
  if (round!.stage === 'published') {
    assert.equal(await getActivePolicyId(db), published);
    assert.match(
      round!.reason!,
      new RegExp(`^published, not active: gate: refused: .* \`attune policies promote ${replacement}\` replaces it`),
    );
    assert.equal((await runCommand('policies', 'promote', replacement)).code, 0);
  }
  assert.equal(await getActivePolicyId(db), replacement);
  const { data } = await request('/v1/erasures');
  for (const erasure of data) assert.deepEqual([erasure.active_policy_learned, erasure.advice], [false, null]);
  assert.deepEqual(data.at(-1).policies, [{ id: published, relation: 'other' }]);
  assert.deepEqual([await listTablesWith(db, CANARY), await listFilesWith(CANARY)], [[], []]);
  assert.doesNotMatch(server.output() + commands, new RegExp(CANARY));
});
