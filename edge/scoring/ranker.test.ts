import assert from 'node:assert/strict';
import { test } from 'node:test';
import { selectBest } from './ranker.ts';

test('the largest scores are selected, the largest first, and of equal ones the earlier candidate', () => {
  assert.deepEqual(selectBest([0.5, -1, 2, 2, 0], 3), [2, 3, 0]);
  assert.deepEqual(selectBest([-3], 1), [0]);
});
