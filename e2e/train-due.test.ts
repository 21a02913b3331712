// `attune train --due`, for timers and CronJobs: its exit code reports the outcome.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { requestRound } from '../shared/rounds/schedule.ts';
import { startEdgeServer } from '../testing/edge-server.ts';

const CLI = fileURLToPath(new URL('../cli.ts', import.meta.url));
const settings = {
  LEARNING_RATE: '0.003',
  TRAIN_MIN_PAIRS: '30',
  TRAIN_THREADS: '1',
  TRAIN_MEMORY: String(2 ** 30),
};
const server = await startEdgeServer(settings);

async function trainDue(): Promise<{ code: number | null; output: string }> {
  const child = spawn(process.execPath, [CLI, 'train', '--due'], {
    env: { ...process.env, ...settings, DATABASE_URL: server.databaseUrl, ATTUNE_HOME: server.home, ENGINE: 'onnx' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  return { code: await new Promise((resolve) => child.once('close', resolve)), output };
}

test('without a due round it exits with 0', async () => {
  const { code, output } = await trainDue();
  assert.equal(code, 0, output);
  assert.match(output, /"area":"trainer","msg":"no round is due/);
});

test('it runs queued rounds and exits with 1 when one fails', async () => {
  const { id } = await requestRound(server.connection.db, 'api', {});
  const { code, output } = await trainDue();
  assert.equal(code, 1, output);
  assert.match(output, new RegExp(`"msg":"${id} failed: there are no new pairs`));
  assert.match(output, /"area":"attune","msg":"1 of 1 rounds failed"/);
});

test('it requests a round when there are enough new pairs, runs it and exits with 0', async () => {
  for (let at = 0; at < 40; at++) {
    const json = { prompt: `Due ${at}:`, chosen: ' yes yes', rejected: ' no no', rater: 'test' };
    assert.equal((await server.request('/v1/preferences', { json })).status, 200);
  }
  const { code, output } = await trainDue();
  assert.equal(code, 0, output);
  assert.match(output, /"msg":"round_\w+: published pol_\w+;/);
  assert.match((await trainDue()).output, /no round is due/);
});
