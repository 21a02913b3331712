import assert from 'node:assert/strict';
import { test } from 'node:test';
import { median } from './median.ts';

const of = (values: number[], weights = values.map(() => 1)) => median(values)(Float64Array.from(weights));

test('the median is the middle value, or the mean of the two in the middle', () => {
  assert.equal(of([5, 1, 3]), 3);
  assert.equal(of([4, 1, 3, 2]), 2.5);
  assert.equal(of([]), Number.NaN);
});

test('a value that is drawn twice counts twice, and one that is not drawn does not count', () => {
  assert.equal(of([1, 2, 9], [0, 1, 2]), 9);
  assert.equal(of([1, 2, 9], [2, 0, 2]), 5);
  assert.equal(of([1, 2, 9], [0, 0, 0]), Number.NaN);
});
