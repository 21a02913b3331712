import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mulberry32 } from '../random.ts';
import { fitBradleyTerry } from './bradley-terry.ts';
import { covarianceByClusters, numberClusters, varianceOfDifference } from './cluster-covariance.ts';
import type { Duels } from './duels.ts';

const PLAYERS = 4;

function simulate(seed: number, count: number, raters: number, prompts: number) {
  const uniform = mulberry32(seed);
  const pick = (size: number) => Math.floor(uniform() * size);
  const rows = Array.from({ length: count }, () => {
    const first = pick(PLAYERS);
    const second = (first + 1 + pick(PLAYERS - 1)) % PLAYERS;
    return { first, second, outcome: pick(2), rater: pick(raters), prompt: pick(prompts) };
  });
  const duels: Duels = {
    players: PLAYERS,
    first: Int32Array.from(rows, ({ first }) => first),
    second: Int32Array.from(rows, ({ second }) => second),
    outcome: Float64Array.from(rows, ({ outcome }) => outcome),
    weight: new Float64Array(count).fill(1),
    features: new Float64Array(0),
    featureCount: 0,
  };
  const clusters = {
    rater: numberClusters(rows.map(({ rater }) => rater)),
    prompt: numberClusters(rows.map(({ prompt }) => prompt)),
  };
  return { duels, fit: fitBradleyTerry(duels, [0])!, ...clusters };
}

test('clusters of the same rows count once, though they are given twice', () => {
  const { duels, fit, rater } = simulate(1, 300, 9, 9);
  const [once, twice] = [covarianceByClusters(duels, fit, [rater]), covarianceByClusters(duels, fit, [rater, rater])];
  for (const [at, value] of once.to1DArray().entries()) assert.ok(Math.abs(value - twice.to1DArray()[at]!) < 1e-12);
});

test('no variance is negative, also where few clusters overlap much', () => {
  for (let seed = 0; seed < 50; seed++) {
    const { duels, fit, rater, prompt } = simulate(seed, 60, 6, 6);
    const covariance = covarianceByClusters(duels, fit, [rater, prompt]);
    assert.deepEqual(covariance.getRow(0), [0, 0, 0, 0]);
    for (let one = 0; one < PLAYERS; one++) {
      assert.ok(covariance.get(one, one) >= -1e-12);
      for (let other = 0; other < one; other++) assert.ok(varianceOfDifference(covariance, one, other) >= 0);
    }
  }
});

test('votes that a cluster repeats add no certainty', () => {
  const { duels, fit } = simulate(2, 120, 6, 6);
  const each = numberClusters(duels.first.keys());
  const columns = { first: new Int32Array(480), second: new Int32Array(480), outcome: new Float64Array(480) };
  for (const name of ['first', 'second', 'outcome'] as const)
    for (let at = 0; at < 480; at++) columns[name][at] = duels[name][at % 120]!;
  const copies: Duels = { ...duels, ...columns, weight: new Float64Array(480).fill(1) };
  const clusters = numberClusters(Array.from({ length: 480 }, (_, at) => at % 120));
  const [once, often] = [
    covarianceByClusters(duels, fit, [each]),
    covarianceByClusters(copies, fitBradleyTerry(copies, [0])!, [clusters]),
  ];
  for (const [at, value] of once.to1DArray().entries()) assert.ok(Math.abs(value - often.to1DArray()[at]!) < 1e-9);
});
