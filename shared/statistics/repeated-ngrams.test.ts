import assert from 'node:assert/strict';
import { test } from 'node:test';
import { countRepeatedNgrams, repetitionShare } from './repeated-ngrams.ts';

test('a 4-gram that occurred before in its response counts as repeated', () => {
  assert.deepEqual(countRepeatedNgrams([1, 2, 3]), { repeated: 0, total: 0 });
  assert.deepEqual(countRepeatedNgrams([1, 2, 3, 4, 1, 2, 3, 4]), { repeated: 1, total: 5 });
  assert.deepEqual(countRepeatedNgrams(Array<number>(10).fill(7)), { repeated: 6, total: 7 });
  // 12 3 is not 1 23
  assert.deepEqual(countRepeatedNgrams([1, 1, 1, 12, 1, 1, 11, 2]), { repeated: 0, total: 5 });
});

test('the share of a response that says one thing again and again is near 1, and that of a short one is 0', () => {
  assert.equal(repetitionShare([]), 0);
  assert.equal(repetitionShare([5, 5, 5]), 0);
  assert.equal(repetitionShare([1, 2, 3, 4, 1, 2, 3, 4]), 0.2);
  assert.ok(repetitionShare(Array<number>(500).fill(7)) > 0.99);
});

test('it is exact for large vocabularies', () => {
  const at = (token: number) => 2 ** 26 - 1 - token;
  assert.deepEqual(countRepeatedNgrams([at(0), at(1), at(2), at(3), at(4)]), { repeated: 0, total: 2 });
  assert.deepEqual(countRepeatedNgrams([at(0), at(1), at(2), at(3), at(0), at(1), at(2), at(3)]), {
    repeated: 1,
    total: 5,
  });
});
