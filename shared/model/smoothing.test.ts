import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tinyArchitecture, tinyWeights } from '../../testing/tiny-checkpoint.ts';
import { balanceFeedForward } from './smoothing.ts';

const LAYER = 'model.layers.0';

test('a column whose activations are large is divided by more, and the factors have a geometric mean of 1', async () => {
  const architecture = tinyArchitecture();
  const weights = tinyWeights(architecture);
  const up = weights.get(`${LAYER}.mlp.up_proj.weight`)!;
  const width = architecture.hiddenSize;
  for (let i = 0; i < width; i++) up.data[3 * width + i]! *= 100;
  const factors = await balanceFeedForward(architecture, weights, LAYER);
  assert.equal(factors.length, architecture.intermediateSize);
  assert.equal(Math.max(...factors), factors[3]);
  assert.ok(factors[3]! > 5 && factors[3]! < 20, `${factors[3]}`);
  const logs = Array.from(factors, Math.log);
  assert.ok(Math.abs(logs.reduce((sum, log) => sum + log, 0) / logs.length) < 1e-5);
});

test('a row of zeros has a factor of 1', async () => {
  const architecture = tinyArchitecture();
  const weights = tinyWeights(architecture);
  weights.get(`${LAYER}.mlp.gate_proj.weight`)!.data.fill(0, 0, architecture.hiddenSize);
  const factors = await balanceFeedForward(architecture, weights, LAYER);
  assert.equal(factors[0], 1);
  assert.ok(factors.every((factor) => Number.isFinite(factor) && factor > 0));
});
