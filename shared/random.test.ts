import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mulberry32, shuffledIndices } from './random.ts';

test('mulberry32 matches its reference implementation', () => {
  const random = mulberry32(1);
  assert.deepEqual([random(), random()], [0.6270739405881613, 0.002735721180215478]);
});

test('a shuffle holds every index once, and the same seed gives the same order', () => {
  assert.deepEqual(shuffledIndices(50, 7), shuffledIndices(50, 7));
  assert.notDeepEqual(shuffledIndices(50, 7), shuffledIndices(50, 8));
  assert.deepEqual(
    shuffledIndices(50, 7).sort((a, b) => a - b),
    Array.from({ length: 50 }, (_, at) => at),
  );
  assert.deepEqual(shuffledIndices(8, 7), [4, 6, 1, 2, 3, 5, 7, 0]);
});
