import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { tinyArchitecture, tinyWeights } from '../../testing/tiny-checkpoint.ts';
import { openEngine } from './open-engine.ts';

async function writeModule(t: TestContext, source: string): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'attune-objective-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const file = path.join(folder, 'my-h.ts');
  await writeFile(file, source);
  return file;
}

const architecture = tinyArchitecture({ layers: 1, hiddenSize: 16, intermediateSize: 16, heads: 2, kvHeads: 1 });
const open = (objective: string) =>
  openEngine({
    architecture,
    weights: tinyWeights(architecture),
    objective: { objective },
    threads: 1,
    engine: 'onnx',
  });

test('a custom module with the h of ukl trains like ukl', async (t) => {
  const custom = await writeModule(
    t,
    'export default (tf) => ({ h: (r) => tf.sub(tf.mul(r, tf.log(r)), r), derivative: (r) => tf.log(r) });',
  );
  const results: number[][] = [];
  for (const objective of ['ukl', custom]) {
    const engine = await open(objective);
    const chosen = { promptIds: [1, 5], responseIds: [9, 8, 2] };
    const rejected = { promptIds: [1, 5], responseIds: [7, 2] };
    const [refChosenLogps, refRejectedLogps] = await engine.score([chosen, rejected]);
    const pair = { chosen, rejected, refChosenLogps: refChosenLogps!, refRejectedLogps: refRejectedLogps! };
    for (let step = 0; step < 3; step++) await engine.step([pair], 1e-3);
    const { loss, metrics } = await engine.evaluate([pair]);
    results.push([loss, metrics['rewards/chosen']!, metrics['rewards/rejected']!]);
    await engine.close();
  }
  for (const [i, value] of results[1]!.entries()) assert.ok(Math.abs(value - results[0]![i]!) < 1e-4, `${value}`);
  assert.ok(results[1]![1]! > 0);
});

test('an h with an unsupported operation is rejected before training, and the error names the operation', async (t) => {
  const file = await writeModule(
    t,
    'export default (tf) => ({ h: (r) => tf.sub(0, tf.atan(r)).add(tf.square(r)), derivative: (r) => tf.sub(tf.mul(2, r), tf.div(1, tf.add(1, tf.square(r)))) });',
  );
  await assert.rejects(open(file), {
    name: 'AttuneError',
    message: /unsupported operation Atan; write it/,
  });
});

test('an h that is not convex is rejected before training', async (t) => {
  const file = await writeModule(
    t,
    'export default (tf) => ({ h: (r) => tf.neg(tf.square(r)), derivative: (r) => tf.mul(-2, r) });',
  );
  await assert.rejects(open(file), /the slope of h falls/);
});
