import assert from 'node:assert/strict';
import { test } from 'node:test';
import { boxOf, density, distinctPairs, mean, quantile, wilson } from './statistics.ts';

const near = (actual: number, expected: number, within: number) =>
  assert.ok(Math.abs(actual - expected) < within, `${actual} is not within ${within} of ${expected}`);

test('the Wilson interval has its published values', () => {
  // Newcombe 1998, table I, method 3
  const cases = [
    [81, 263, 0.2553, 0.3662],
    [15, 148, 0.0624, 0.1605],
    [0, 20, 0, 0.1611],
    [1, 29, 0.0061, 0.1718],
  ] as const;
  for (const [successes, trials, low, high] of cases) {
    near(wilson(successes, trials).low, low, 5e-5);
    near(wilson(successes, trials).high, high, 5e-5);
  }
});

test('half of everything is even odds, and nothing at all says nothing', () => {
  const even = wilson(50, 100);
  near(even.low + even.high, 1, 1e-12);
  assert.deepEqual(wilson(0, 0), { rate: Number.NaN, low: 0, high: 1 });
});

test('quantiles lie between neighbours', () => {
  assert.equal(quantile([3, 1, 2], 0.5), 2);
  assert.equal(quantile([1, 2], 0.25), 1.25);
  assert.deepEqual(boxOf([5]), [5, 5, 5, 5, 5]);
  assert.equal(mean([1, 2, 3]), 2);
});

test('a density integrates to one, also where all values are the same', () => {
  const points = Array.from({ length: 2001 }, (_, at) => -10 + at / 100);
  for (const values of [
    [-1, 0, 0.5, 2, 3],
    [1, 1, 1],
  ]) {
    const area = density(values, points).reduce((sum, value) => sum + value / 100, 0);
    assert.ok(area > 0.9 && area < 1.1, `the area is ${area}`);
  }
});

test('repeated word pairs lower the share of distinct ones', () => {
  assert.equal(distinctPairs(['the cat sat on a mat']), 1);
  assert.equal(distinctPairs(['so so so so so']), 0.25);
});
