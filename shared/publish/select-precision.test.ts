import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { tinyArchitecture, tinyWeights } from '../../testing/tiny-checkpoint.ts';
import { readCheckpoint } from '../model/checkpoint.ts';
import { writePolicyGraphs } from '../onnx/write-graphs.ts';
import type { PrecisionName } from '../precision-name.ts';
import { writeDefaultCheckpoint } from './convert-llama2c.ts';
import { choosePrecision } from './select-precision.ts';

const root = await mkdtemp(join(tmpdir(), 'attune-precision-'));
after(() => rm(root, { recursive: true, force: true }));
await writeDefaultCheckpoint(root);
const { architecture, weights } = await readCheckpoint(root);

async function choose(wanted: PrecisionName, isDemanded?: boolean) {
  const folder = await mkdtemp(join(root, 'package-'));
  await writePolicyGraphs(folder, architecture, weights);
  const serving = await choosePrecision(join(folder, 'onnx'), architecture, weights, wanted, isDemanded);
  return { serving, files: (await readdir(join(folder, 'onnx'))).sort() };
}

test('stories15M is served at row8, which keeps it, and what it keeps is written down', async () => {
  const { serving, files } = await choose('row8');
  assert.equal(serving.precision, 'row8');
  const { fp32, row8 } = serving.accuracy;
  assert.ok(row8!.kl > 0 && row8!.kl < 0.02);
  assert.ok(row8!.greedy_agreement > 0.95 && row8!.greedy_agreement < 1);
  assert.ok(row8!.perplexity < fp32!.perplexity * 1.02);
  assert.deepEqual(files, ['model.onnx', 'model.onnx_data', 'serve.onnx', 'serve.onnx_data']);
});

test('a precision that harms the policy is refused and the next better one taken', async () => {
  const { serving, files } = await choose('int4');
  assert.equal(serving.precision, 'row8');
  assert.ok(serving.accuracy.int4!.kl > 0.02);
  assert.deepEqual(files, ['model.onnx', 'model.onnx_data', 'serve.onnx', 'serve.onnx_data']);
});

test('a precision that somebody demands is taken whatever it does', async () => {
  const { serving } = await choose('int4', true);
  assert.equal(serving.precision, 'int4');
});

test('float32 is kept as it is', async () => {
  const { serving, files } = await choose('fp32');
  assert.deepEqual(serving, { precision: 'fp32', accuracy: {} });
  assert.deepEqual(files, ['model.onnx', 'model.onnx_data', 'serve.onnx']);
});

test('weights that are not numbers are refused before anything is served', async () => {
  const tiny = tinyArchitecture();
  const damaged = tinyWeights(tiny);
  damaged.get('model.layers.0.mlp.down_proj.weight')!.data[5] = Number.NaN;
  const folder = await mkdtemp(join(root, 'damaged-'));
  await writePolicyGraphs(folder, tiny, damaged);
  await assert.rejects(choosePrecision(join(folder, 'onnx'), tiny, damaged, 'row8'), {
    name: 'AttuneError',
    message: /weights: .* not finite/,
  });
});

test('blocks that a matrix cannot be cut into are refused by name, and passed over where nobody demands them', async () => {
  const odd = tinyArchitecture({ intermediateSize: 48 });
  const folder = await mkdtemp(join(root, 'odd-'));
  await writePolicyGraphs(folder, odd, tinyWeights(odd));
  const onnx = join(folder, 'onnx');
  await assert.rejects(choosePrecision(onnx, odd, tinyWeights(odd), 'int8', true), {
    name: 'AttuneError',
    message: /int8 needs 48 to be a multiple of 32/,
  });
  const { precision } = await choosePrecision(onnx, odd, tinyWeights(odd), 'int8');
  assert.equal(precision, 'fp32');
});
