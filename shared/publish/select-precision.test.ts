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
import { selectPrecision } from './select-precision.ts';

const root = await mkdtemp(join(tmpdir(), 'attune-precision-'));
after(() => rm(root, { recursive: true, force: true }));
await writeDefaultCheckpoint(root);
const { architecture, weights } = await readCheckpoint(root);

async function select(requested: PrecisionName, isForced?: boolean) {
  const folder = await mkdtemp(join(root, 'package-'));
  await writePolicyGraphs(folder, architecture, weights);
  const serving = await selectPrecision(join(folder, 'onnx'), architecture, weights, requested, isForced);
  return { serving, files: (await readdir(join(folder, 'onnx'))).sort() };
}

test('stories15M is served at row8, and its report is recorded', async () => {
  const { serving, files } = await select('row8');
  assert.equal(serving.precision, 'row8');
  const { fp32, row8 } = serving.accuracy;
  assert.ok(row8!.kl > 0 && row8!.kl < 0.02);
  assert.ok(row8!.greedy_agreement > 0.95 && row8!.greedy_agreement < 1);
  assert.ok(row8!.perplexity < fp32!.perplexity * 1.02);
  assert.deepEqual(files, [
    ...['model.onnx', 'model.onnx_data', 'score.onnx'],
    ...['serve-unsigned.onnx', 'serve.onnx', 'serve.onnx_data'],
  ]);
});

test('a precision that loses too much is replaced by the next more accurate one', async () => {
  const { serving, files } = await select('int4');
  assert.equal(serving.precision, 'row8');
  assert.ok(serving.accuracy.int4!.kl > 0.02);
  assert.deepEqual(files, [
    ...['model.onnx', 'model.onnx_data', 'score.onnx'],
    ...['serve-unsigned.onnx', 'serve.onnx', 'serve.onnx_data'],
  ]);
});

test('a forced precision is used regardless of its loss', async () => {
  const { serving } = await select('int4', true);
  assert.equal(serving.precision, 'int4');
});

test('float32 is left unchanged', async () => {
  const { serving, files } = await select('fp32');
  assert.deepEqual(serving, { precision: 'fp32', accuracy: {} });
  assert.deepEqual(files, ['model.onnx', 'model.onnx_data', 'serve.onnx']);
});

test('rejects weights with NaN', async () => {
  const tiny = tinyArchitecture();
  const damaged = tinyWeights(tiny);
  damaged.get('model.layers.0.mlp.down_proj.weight')!.data[5] = Number.NaN;
  const folder = await mkdtemp(join(root, 'damaged-'));
  await writePolicyGraphs(folder, tiny, damaged);
  await assert.rejects(selectPrecision(join(folder, 'onnx'), tiny, damaged, 'row8'), {
    name: 'AttuneError',
    message: /weights: .* not finite/,
  });
});

test('a precision whose block size does not divide the matrices is rejected if forced, otherwise skipped', async () => {
  const odd = tinyArchitecture({ intermediateSize: 48 });
  const folder = await mkdtemp(join(root, 'odd-'));
  await writePolicyGraphs(folder, odd, tinyWeights(odd));
  const onnx = join(folder, 'onnx');
  await assert.rejects(selectPrecision(onnx, odd, tinyWeights(odd), 'int8', true), {
    name: 'AttuneError',
    message: /int8 requires 48 to be a multiple of 32/,
  });
  const { precision } = await selectPrecision(onnx, odd, tinyWeights(odd), 'int8');
  assert.equal(precision, 'fp32');
});
