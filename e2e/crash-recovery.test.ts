// Killed trainers, a killed Postgres, a full disk and a damaged package.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { readdir, readFile, symlink, truncate } from 'node:fs/promises';
import path from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { eq } from 'drizzle-orm';
import { preferences, round_events, rounds } from '../shared/database/schema.ts';
import { importPolicy } from '../shared/publish/publish.ts';
import { requestRound } from '../shared/rounds/schedule.ts';
import { policiesFolder } from '../shared/store/local-store.ts';
import { activatePolicy, getActivePolicyId } from '../shared/store/registry.ts';
import { type Json, startEdgeServer } from '../testing/edge-server.ts';
import { writeTinyCheckpoint } from '../testing/tiny-checkpoint.ts';
import { waitUntil } from '../testing/wait-until.ts';

const server = await startEdgeServer();
const { db } = server.connection;
const TIMEOUT_MS = 300_000;
/** A write whose COMMIT was sent is retried by the client only with an Idempotency-Key. */
const EXPECTED = new Set(['503 postgres_unavailable true', '503 postgres_outcome_unknown false']);
const CLI = fileURLToPath(new URL('../cli.ts', import.meta.url));

const children: ChildProcess[] = [];
// What a test that failed has left would keep this process.
after(() => {
  for (const child of children) child.kill('SIGKILL');
});

function spawnTrainer(): ChildProcess {
  const env = {
    ...process.env,
    DATABASE_URL: server.databaseUrl,
    ATTUNE_HOME: server.home,
    TRAIN_THREADS: '1',
    BATCH_PAIRS: '4',
  };
  const stdio = ['ignore', 'ignore', 'inherit', 'ipc'] as const;
  const child = spawn(process.execPath, [CLI, 'train', '--schedule'], { env, stdio: [...stdio] });
  children.push(child);
  return child;
}

async function spawnApi(): Promise<{ url: string; stop(): void }> {
  const env = { ...process.env, DATABASE_URL: server.databaseUrl, ATTUNE_HOME: server.home, PORT: '0' };
  const child = spawn(process.execPath, [CLI, 'serve'], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  let output = '';
  child.stdout.on('data', (chunk) => {
    output += chunk;
  });
  const url = await waitUntil(async () => /serving at ([^\s"]+)/.exec(output)?.[1], TIMEOUT_MS);
  return { url, stop: () => child.kill('SIGTERM') };
}

async function send(url: string, json: unknown) {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(json) });
  return { status: response.status, headers: response.headers, body: (await response.json()) as Json };
}

const getRound = async (id: string) => (await db.select().from(rounds).where(eq(rounds.id, id)))[0]!;

for (const stageName of ['scoring', 'training']) {
  test(`a round whose trainer is killed while ${stageName} is resumed by the next trainer with the same pairs`, async () => {
    for (let at = 0; at < 60; at++)
      await server.request('/v1/preferences', {
        json: { prompt: `${stageName} ${at}`, chosen: ' yes', rejected: ' no', rater: 'test' },
      });
    const { id } = await requestRound(db, 'api', { epochs: 30, learning_rate: 1e-3, early_stopping: 0 });
    const killed = spawnTrainer();
    await waitUntil(async () => (await getRound(id)).stage === stageName, TIMEOUT_MS);
    const before = await getRound(id);
    killed.kill('SIGKILL');

    // Too late for this round.
    await server.request('/v1/preferences', {
      json: { prompt: 'Late', chosen: ' yes', rejected: ' no', rater: 'test' },
    });
    const trainer = spawnTrainer();
    const round = await waitUntil(async () => {
      const row = await getRound(id);
      return row.finished_at ? row : undefined;
    }, TIMEOUT_MS);
    trainer.kill('SIGTERM');
    assert.equal(round.status, 'succeeded', round.reason ?? '');
    assert.deepEqual(round.pairs, before.pairs);
    const events = await db.select().from(round_events).where(eq(round_events.round_id, id));
    assert.ok(events.some(({ message }) => /^resumed: its trainer was stopped while \w+$/.test(message)));
    const staging = (await readdir(policiesFolder(server.settings))).filter((name) => name.startsWith('.staging'));
    assert.deepEqual(staging, []);
  });
}

test('a round that has lost five trainers fails and does not block others', async () => {
  const { id } = await requestRound(db, 'api', {});
  await db.update(rounds).set({ status: 'running', stage: 'training', attempts: 5 }).where(eq(rounds.id, id));
  const trainer = spawnTrainer();
  const round = await waitUntil(async () => {
    const row = await getRound(id);
    return row.finished_at ? row : undefined;
  }, TIMEOUT_MS);
  trainer.kill('SIGTERM');
  assert.equal(round.status, 'failed');
  assert.match(round.reason ?? '', /^5 trainers were stopped while running it, the last one while training/);
});

test('after Postgres is killed every acknowledged preference is stored, and the others got a 503 that says so', async () => {
  const pid = Number((await readFile(path.join(server.home, 'postgres/data/postmaster.pid'), 'utf8')).split('\n')[0]);
  const api = await spawnApi();
  const acknowledged: string[] = [];
  const rejected = new Set<string>();
  for (let at = 0; at < 200; at++) {
    if (at === 50) process.kill(pid, 'SIGKILL');
    const { status, headers, body } = await send(`${api.url}/v1/preferences`, {
      prompt: `Killed ${at}`,
      chosen: 'a',
      rejected: 'b',
      rater: 'test',
    });
    if (status === 200) acknowledged.push(body.id);
    else {
      rejected.add(`${status} ${body.error.code} ${headers.get('x-should-retry')}`);
      await sleep(20);
    }
  }
  await waitUntil(async () => (await fetch(`${api.url}/health`)).status === 200, TIMEOUT_MS);
  api.stop();
  const stored = new Set((await db.select({ id: preferences.id }).from(preferences)).map((row) => row.id));
  assert.ok(acknowledged.length >= 50);
  assert.deepEqual(
    acknowledged.filter((id) => !stored.has(id)),
    [],
  );
  assert.deepEqual(
    [...rejected].filter((error) => !EXPECTED.has(error)),
    [],
  );
});

test('publishing on a full disk fails with disk_full and leaves no files', async () => {
  const source = await server.localStore.createStaging();
  await writeTinyCheckpoint(source, { seed: 9 });
  const full = {
    ...server.localStore,
    // Writes to /dev/full fail with ENOSPC.
    async createStaging() {
      const staging = await server.localStore.createStaging();
      await symlink('/dev/full', path.join(staging, 'model.safetensors.partial'));
      return staging;
    },
  };
  const before = await readdir(policiesFolder(server.settings));
  await assert.rejects(importPolicy(db, full, source, 'full'), { name: 'AttuneError', code: 'disk_full' });
  assert.deepEqual(await readdir(policiesFolder(server.settings)), before);
  await server.localStore.discardStaging(source);
});

test('a damaged package is not promoted, and the active policy keeps serving', async () => {
  const serving = (await server.request('/health')).body.policy;
  const damaged = await server.importTiny(10);
  await truncate(path.join(server.home, 'policies', damaged, 'onnx', 'model.onnx_data'), 100);
  const promoted = await server.request(`/v1/policies/${damaged}/promote`, { method: 'POST' });
  assert.ok(promoted.status >= 400);
  assert.match(promoted.body.error.message, /model\.onnx_data/);
  assert.equal(await getActivePolicyId(db), serving);
  // When the activation is written past the API, the edge keeps the policy that works.
  await activatePolicy(db, damaged, 'test');
  await sleep(500);
  const completion = await server.request('/v1/completions', { json: { prompt: 'Once', max_tokens: 2 } });
  assert.equal(completion.status, 200);
  assert.equal(completion.body.model, serving);
});
