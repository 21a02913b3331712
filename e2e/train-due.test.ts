// `attune train --due`, for timers and CronJobs: its exit code reports the outcome. And `attune train --from-root`.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { desc } from 'drizzle-orm';
import { rounds } from '../shared/database/schema.ts';
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

async function train(...options: string[]): Promise<{ code: number | null; output: string }> {
  const child = spawn(process.execPath, [CLI, 'train', ...options], {
    env: { ...process.env, ...settings, DATABASE_URL: server.databaseUrl, ATTUNE_HOME: server.home, ENGINE: 'onnx' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  return { code: await new Promise((resolve) => child.once('close', resolve)), output };
}

const trainDue = () => train('--due');

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

test('--from-root runs a round from the root, --dry-run says so, and the schedule has none', async () => {
  const { policyId: root } = server;
  const { output } = await train('--from-root', '--dry-run');
  assert.match(output, new RegExp(`^parent +${root} \\(.*\\), the root, to replace the active pol_`, 'm'));
  assert.match(output, /^pairs +0 new, \d+ replayed, \d+ held out/m);
  const { code, output: log } = await train('--from-root');
  assert.equal(code, 0, log);
  const [round] = await server.connection.db.select().from(rounds).orderBy(desc(rounds.id)).limit(1);
  assert.deepEqual([round!.from_root, round!.parent_id, round!.trigger], [true, root, 'command']);
  assert.match((await train('--from-root', '--due')).output, /cannot be used with option/);
});
