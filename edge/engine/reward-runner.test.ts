import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { writeRewardGraph } from '../../shared/onnx/write-graphs.ts';
import { openTestInference } from '../../testing/inference.ts';
import { makeTempFolder } from '../../testing/policy-package.ts';
import { referenceReward } from '../../testing/reference-decoder.ts';
import { writeTinyCheckpoint } from '../../testing/tiny-checkpoint.ts';
import { makeTokens } from '../../testing/training.ts';

const root = await makeTempFolder();
after(root.remove);

async function writeReward(id: string, seed: number) {
  const folder = join(root.path, id);
  const checkpoint = await writeTinyCheckpoint(folder, { seed, variant: { output: 'reward' } });
  await writeRewardGraph(folder, checkpoint.architecture, checkpoint.weights);
  return checkpoint;
}
const { architecture, weights } = await writeReward('rwd_a', 1);
await writeReward('rwd_b', 2);

/** More tokens than one batch has. */
const ROWS = Array.from({ length: 24 }, (_, at) => makeTokens(at, 5 + ((at * 31) % 90)));

const inference = openTestInference(root.path, { maxRows: 2, maxQueue: 2 * ROWS.length - 2 });
after(() => inference.close());

test('rewards are those of the reference decoder, alone and in batches among others', async () => {
  const reward = await inference.getReward('rwd_a');
  const together = await reward.score(ROWS, {});
  for (const [at, row] of ROWS.entries())
    assert.ok(Math.abs(together[at]! - referenceReward(architecture, weights, row)) < 1e-4);
  for (const at of [0, 7, 23]) assert.deepEqual(await reward.score([ROWS[at]!], {}), [together[at]]);
});

test('callers take turns between batches', async () => {
  const reward = await inference.getReward('rwd_a');
  const order: string[] = [];
  const score = (name: string, rows: number[][]) => reward.score(rows, { tenant: name }).then(() => order.push(name));
  await Promise.all([score('long', ROWS), score('short', ROWS.slice(0, 1))]);
  assert.deepEqual(order, ['short', 'long']);
});

test('a caller that leaves frees its places at once, a row too many gets a 429, and a ranking does not', async () => {
  const reward = await inference.getReward('rwd_a');
  const abort = new AbortController();
  const waiting = [1, 2].map(() => reward.score(ROWS, { signal: abort.signal }));
  await assert.rejects(reward.score(ROWS.slice(0, 1), {}), { status: 429, code: 'queue_full' });
  assert.equal((await reward.score(ROWS.slice(0, 1), { isAdmitted: true })).length, 1);
  abort.abort(new Error('left'));
  for (const result of await Promise.allSettled(waiting)) assert.equal(result.status, 'rejected');
  assert.equal((await reward.score(ROWS.slice(0, 1), {})).length, 1);
});

test('another reward takes the place of the loaded one, which can still be used', async () => {
  const first = await inference.getReward('rwd_a');
  const before = await first.score(ROWS.slice(0, 3), {});
  const scoring = first.score(ROWS, {});
  const second = await inference.getReward('rwd_b');
  assert.notDeepEqual(await second.score(ROWS.slice(0, 3), {}), before);
  assert.equal((await scoring).length, ROWS.length);
  assert.deepEqual(await first.score(ROWS.slice(0, 3), {}), before);
  assert.ok(inference.listInUse().includes('rwd_b'));
});

test('a reward whose graph is damaged is refused', async () => {
  await writeReward('rwd_c', 3);
  await writeFile(join(root.path, 'rwd_c', 'onnx', 'reward.onnx'), 'no model');
  await assert.rejects(inference.getReward('rwd_c'), { status: 422, code: 'reward_unusable' });
});
