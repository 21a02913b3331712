// `attune train --due`, as a timer or a CronJob runs it: what it did is its exit code.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { requestRound } from '../shared/rounds/schedule.ts';
import { setStage } from '../testing/edge-server.ts';

const CLI = fileURLToPath(new URL('../cli.ts', import.meta.url));
const settings = {
  LEARNING_RATE: '0.003',
  TRAIN_MIN_PAIRS: '30',
  TRAIN_THREADS: '1',
  TRAIN_MEMORY: String(2 ** 30),
};
const stage = await setStage(settings);

async function trainDue(): Promise<{ code: number | null; said: string }> {
  const child = spawn(process.execPath, [CLI, 'train', '--due'], {
    env: { ...process.env, ...settings, DATABASE_URL: stage.databaseUrl, ATTUNE_HOME: stage.home, ENGINE: 'onnx' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (said += chunk));
  return { code: await new Promise((resolve) => child.once('close', resolve)), said };
}

test('with nothing to do it says so and ends with 0', async () => {
  const { code, said } = await trainDue();
  assert.equal(code, 0, said);
  assert.match(said, /^trainer: nothing is due/);
});

test('it runs what was queued, and a round that failed makes it end with 1', async () => {
  const { id } = await requestRound(stage.connection.db, 'api', {});
  const { code, said } = await trainDue();
  assert.equal(code, 1, said);
  assert.match(said, new RegExp(`^${id} failed: there are no new pairs`, 'm'));
  assert.match(said, /^attune: 1 of 1 rounds failed$/m);
});

test('it asks for a round itself where enough pairs have come, runs it, and ends with 0', async () => {
  for (let at = 0; at < 40; at++) {
    const json = { prompt: `Due ${at}:`, chosen: ' yes yes', rejected: ' no no', rater: 'test' };
    assert.equal((await stage.request('/v1/preferences', { json })).status, 200);
  }
  const { code, said } = await trainDue();
  assert.equal(code, 0, said);
  assert.match(said, /^round_\w+: published pol_\w+;/m);
  assert.match((await trainDue()).said, /nothing is due/);
});
