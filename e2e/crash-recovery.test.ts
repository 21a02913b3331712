// What goes wrong outside: killed trainers, a killed Postgres, a full disk, a damaged package.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { readdir, readFile, symlink, truncate } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { eq } from 'drizzle-orm';
import { preferences, round_events, rounds } from '../shared/database/schema.ts';
import { importPolicy } from '../shared/publish/publish.ts';
import { requestRound } from '../shared/rounds/schedule.ts';
import { policiesFolder } from '../shared/store/local-store.ts';
import { activatePolicy, getActivePolicyId } from '../shared/store/registry.ts';
import { type Json, setStage } from '../testing/edge-server.ts';
import { writeTinyCheckpoint } from '../testing/tiny-checkpoint.ts';

const stage = await setStage();
const { db } = stage.connection;
const CLI = fileURLToPath(new URL('../cli.ts', import.meta.url));
const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

function spawnTrainer(): ChildProcess {
  const env = {
    ...process.env,
    DATABASE_URL: stage.databaseUrl,
    ATTUNE_HOME: stage.home,
    TRAIN_THREADS: '1',
    BATCH_PAIRS: '4',
  };
  return spawn(process.execPath, [CLI, 'train', '--schedule'], { env, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
}

async function spawnApi(): Promise<{ url: string; stop(): void }> {
  const env = { ...process.env, DATABASE_URL: stage.databaseUrl, ATTUNE_HOME: stage.home, PORT: '0' };
  const child = spawn(process.execPath, [CLI, 'serve'], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  child.stdout.on('data', (chunk) => {
    said += chunk;
  });
  const url = await until(async () => /serving at (\S+)/.exec(said)?.[1]);
  return { url, stop: () => child.kill('SIGTERM') };
}

async function send(url: string, json: unknown) {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(json) });
  return { status: response.status, headers: response.headers, body: (await response.json()) as Json };
}

async function until<T>(look: () => Promise<T | undefined | false>): Promise<T> {
  for (let attempt = 0; attempt < 1200; attempt++) {
    const seen = await look();
    if (seen) return seen;
    await sleep(50);
  }
  throw new Error('it never came');
}

const roundOf = async (id: string) => (await db.select().from(rounds).where(eq(rounds.id, id)))[0]!;

for (const stageName of ['scoring', 'training']) {
  test(`a round whose trainer is killed while ${stageName} is resumed by the next one with the same pairs`, async () => {
    for (let at = 0; at < 60; at++)
      await stage.request('/v1/preferences', {
        json: { prompt: `${stageName} ${at}`, chosen: ' yes', rejected: ' no', rater: 'test' },
      });
    const { id } = await requestRound(db, 'api', { epochs: 30, learning_rate: 1e-3, early_stopping: 0 });
    const killed = spawnTrainer();
    await until(async () => (await roundOf(id)).stage === stageName);
    const before = await roundOf(id);
    killed.kill('SIGKILL');

    // Not of this round any more.
    await stage.request('/v1/preferences', {
      json: { prompt: 'Late', chosen: ' yes', rejected: ' no', rater: 'test' },
    });
    const trainer = spawnTrainer();
    const round = await until(async () => {
      const row = await roundOf(id);
      return row.finished_at ? row : undefined;
    });
    trainer.kill('SIGTERM');
    assert.equal(round.status, 'succeeded', round.reason ?? '');
    assert.deepEqual(round.pairs, before.pairs);
    const said = await db.select().from(round_events).where(eq(round_events.round_id, id));
    assert.ok(said.some(({ message }) => /^resumed: its trainer was stopped while \w+$/.test(message)));
    const drafts = (await readdir(policiesFolder(stage.settings))).filter((name) => name.startsWith('.staging'));
    assert.deepEqual(drafts, []);
  });
}

test('a round that has lost five trainers is marked failed and blocks no other round', async () => {
  const { id } = await requestRound(db, 'api', {});
  await db.update(rounds).set({ status: 'running', stage: 'training', attempts: 5 }).where(eq(rounds.id, id));
  const trainer = spawnTrainer();
  const round = await until(async () => {
    const row = await roundOf(id);
    return row.finished_at ? row : undefined;
  });
  trainer.kill('SIGTERM');
  assert.equal(round.status, 'failed');
  assert.match(round.reason ?? '', /^5 trainers were stopped while running it, the last one while training/);
});

test('every preference that was acknowledged is there after Postgres was killed, and the others were told to try again', async () => {
  const pid = Number((await readFile(path.join(stage.home, 'postgres/data/postmaster.pid'), 'utf8')).split('\n')[0]);
  const api = await spawnApi();
  const acknowledged: string[] = [];
  const refused = new Set<string>();
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
      refused.add(`${status} ${body.error.code} ${headers.get('x-should-retry')}`);
      await sleep(20);
    }
  }
  await until(async () => (await fetch(`${api.url}/health`)).status === 200);
  api.stop();
  const stored = new Set((await db.select({ id: preferences.id }).from(preferences)).map((row) => row.id));
  assert.ok(acknowledged.length >= 50);
  assert.deepEqual(
    acknowledged.filter((id) => !stored.has(id)),
    [],
  );
  assert.deepEqual(
    [...refused].filter((answer) => answer !== '503 postgres_unavailable true'),
    [],
  );
});

test('a full disk while publishing leaves nothing behind and says so', async () => {
  const source = await stage.shelf.createStaging();
  await writeTinyCheckpoint(source, { seed: 9 });
  const full = {
    ...stage.shelf,
    // /dev/full answers every write as a full disk does.
    async createStaging() {
      const draft = await stage.shelf.createStaging();
      await symlink('/dev/full', path.join(draft, 'model.safetensors.partial'));
      return draft;
    },
  };
  const before = await readdir(policiesFolder(stage.settings));
  await assert.rejects(importPolicy(db, full, source, 'full'), { name: 'AttuneError', code: 'disk_full' });
  assert.deepEqual(await readdir(policiesFolder(stage.settings)), before);
  await stage.shelf.discard(source);
});

test('a damaged package is refused, and the policy that was serving goes on', async () => {
  const serving = (await stage.request('/health')).body.policy;
  const damaged = await stage.importTiny(10);
  await truncate(path.join(stage.home, 'policies', damaged, 'onnx', 'model.onnx_data'), 100);
  const promoted = await stage.request(`/v1/policies/${damaged}/promote`, { method: 'POST' });
  assert.ok(promoted.status >= 400);
  assert.match(promoted.body.error.message, /model\.onnx_data/);
  assert.equal(await getActivePolicyId(db), serving);
  // Even where its activation was written by somebody else, the edge keeps what works.
  await activatePolicy(db, damaged, 'test');
  await sleep(500);
  const answer = await stage.request('/v1/completions', { json: { prompt: 'Once', max_tokens: 2 } });
  assert.equal(answer.status, 200);
  assert.equal(answer.body.model, serving);
});
