import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seedRandom } from '../decoder/random.ts';
import { bootstrap, estimate, estimateMean, weightedRatio } from './confidence-interval.ts';

/** Standard normal random numbers (Box-Muller). */
function normals(seed: number): () => number {
  const uniform = seedRandom(seed, 9);
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

const alone = (count: number) => Array.from({ length: count }, (_, i) => i);

for (const count of [8, 40]) {
  test(`the interval of the mean of ${count} normal numbers contains the true mean about 95 times in 100`, () => {
    const next = normals(count);
    let covered = 0;
    const trials = 400;
    for (let trial = 0; trial < trials; trial++) {
      const values = alone(count).map(() => 3 + 2 * next());
      const { low, high } = estimateMean(values, alone(count), trial).interval!;
      if (low <= 3 && 3 <= high) covered++;
    }
    // Three standard deviations of a binomial share with n = 400 and p = 0.95.
    assert.ok(Math.abs(covered / trials - 0.95) < 0.033, `${covered} of ${trials}`);
  });
}

test('items of one cluster are resampled together: copies of values do not narrow the interval', () => {
  const next = normals(1);
  const values = alone(12).map(() => next());
  const repeated = values.flatMap((value) => [value, value, value, value, value]);
  const clusters = alone(12).flatMap((cluster) => [cluster, cluster, cluster, cluster, cluster]);
  const width = (interval: { low: number; high: number } | null) => interval!.high - interval!.low;
  const single = width(estimateMean(values, alone(12)).interval);
  assert.ok(Math.abs(width(estimateMean(repeated, clusters).interval) - single) < 1e-9);
  assert.ok(width(estimateMean(repeated, alone(60)).interval) < 0.6 * single);
});

test('a paired difference has a much narrower interval than the difference of two means', () => {
  const next = normals(2);
  const before = alone(30).map(() => 5 * next());
  const after = before.map((value) => value + 0.3 + 0.1 * next());
  const paired = bootstrap(alone(30), (weights) => weightedRatio(weights, after) - weightedRatio(weights, before))!;
  assert.ok(paired.low > 0.2 && paired.high < 0.4, JSON.stringify(paired));
  const apart = estimateMean([...after, ...before.map((value) => -value)], alone(60)).interval!;
  assert.ok(apart.low < 0 && apart.high > 0);
});

test('the same seed gives the same interval, and another seed a different one', () => {
  const values = alone(20).map((i) => Math.sin(i));
  const of = (seed: number) => estimateMean(values, alone(20), seed);
  assert.deepEqual(of(4), of(4));
  assert.notDeepEqual(of(4), of(5));
});

test('fewer than six prompts give no interval, however many pairs they have', () => {
  const clusters = alone(100).map((i) => i % 5);
  const { value, interval } = estimateMean(alone(100), clusters);
  assert.equal(value, 49.5);
  assert.equal(interval, null);
});

test('a ratio over items of different sizes is a ratio of totals', () => {
  const statistic = (weights: Float64Array) => weightedRatio(weights, [1, 0, 6], [2, 0, 8]);
  assert.equal(estimate(['a', 'b', 'c'], statistic).value, 0.7);
  assert.equal(weightedRatio(Float64Array.of(0, 1, 0), [1, 0, 6], [2, 0, 8]), 0);
});
