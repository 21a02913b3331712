import assert from 'node:assert/strict';
import { test } from 'node:test';
import { boxQuantiles, density, distinctBigrams, mean, quantile, wilsonInterval } from './statistics.ts';

const near = (actual: number, expected: number, within: number) =>
  assert.ok(Math.abs(actual - expected) < within, `${actual} is not within ${within} of ${expected}`);

test('the Wilson interval matches published values', () => {
  // Newcombe 1998, table I, method 3
  const cases = [
    [81, 263, 0.2553, 0.3662],
    [15, 148, 0.0624, 0.1605],
    [0, 20, 0, 0.1611],
    [1, 29, 0.0061, 0.1718],
  ] as const;
  for (const [successes, trials, low, high] of cases) {
    near(wilsonInterval(successes, trials).low, low, 5e-5);
    near(wilsonInterval(successes, trials).high, high, 5e-5);
  }
});

test('the Wilson interval is symmetric at 50% and [0, 1] without trials', () => {
  const even = wilsonInterval(50, 100);
  near(even.low + even.high, 1, 1e-12);
  assert.deepEqual(wilsonInterval(0, 0), { rate: Number.NaN, low: 0, high: 1 });
});

test('quantiles interpolate linearly', () => {
  assert.equal(quantile([3, 1, 2], 0.5), 2);
  assert.equal(quantile([1, 2], 0.25), 1.25);
  assert.deepEqual(boxQuantiles([5]), [5, 5, 5, 5, 5]);
  assert.equal(mean([1, 2, 3]), 2);
});

test('a density integrates to one, also when all values are equal', () => {
  const points = Array.from({ length: 2001 }, (_, at) => -10 + at / 100);
  for (const values of [
    [-1, 0, 0.5, 2, 3],
    [1, 1, 1],
  ]) {
    const area = density(values, points).reduce((sum, value) => sum + value / 100, 0);
    assert.ok(area > 0.9 && area < 1.1, `the area is ${area}`);
  }
});

test('repeated bigrams lower the distinct share', () => {
  assert.equal(distinctBigrams(['the cat sat on a mat']), 1);
  assert.equal(distinctBigrams(['so so so so so']), 0.25);
});
