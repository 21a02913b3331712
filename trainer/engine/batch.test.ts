import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tinyArchitecture } from '../../testing/tiny-checkpoint.ts';
import { checkSequence, packSequences, roundToSize } from './batch.ts';

test('a packed batch feeds all but the last token and points at what comes before each response token', () => {
  const batch = packSequences(
    [{ promptIds: [5, 6], responseIds: [7, 8, 9] }, null, { promptIds: [3], responseIds: [4] }],
    { reduction: 'mean' },
  );
  const get = (name: string) => [...batch.arrays.get(name)!.data];
  assert.deepEqual(batch.bucket, { S: 1, T: 8, R: 4, P: 1 });
  assert.deepEqual(get('ids'), [5, 6, 7, 8, 3, 0, 0, 0]);
  assert.deepEqual(get('positionIds'), [0, 1, 2, 3, 0, 0, 0, 0]);
  assert.deepEqual(get('segments'), [1, 1, 2, 2, 3, 0, 0, 0]);
  assert.deepEqual(get('parents'), [1, 1, 1, 1, 3, 0, 0, 0]);
  assert.deepEqual(get('positions'), [1, 2, 3, 4]);
  assert.deepEqual(get('targets'), [7, 8, 9, 4]);
  assert.deepEqual(get('owners'), [0, 0, 0, 2]);
  assert.deepEqual(get('weights'), [...Float32Array.of(1 / 3, 1 / 3, 1 / 3, 1)]);
  assert.deepEqual(batch.starts, [0, null, 3]);
});

test('two responses to one prompt go on from it, each with positions of its own', () => {
  const batch = packSequences(
    [
      { promptIds: [5, 6], responseIds: [7, 8] },
      { promptIds: [5, 6], responseIds: [9, 8, 4] },
    ],
    { reduction: 'sum' },
  );
  const get = (name: string) => [...batch.arrays.get(name)!.data];
  assert.deepEqual(get('ids'), [5, 6, 7, 9, 8, 0, 0, 0]);
  assert.deepEqual(get('positionIds'), [0, 1, 2, 2, 3, 0, 0, 0]);
  assert.deepEqual(get('segments'), [1, 1, 2, 3, 3, 0, 0, 0]);
  assert.deepEqual(get('parents'), [1, 1, 1, 1, 1, 0, 0, 0]);
  // The prompt's last token predicts the first of both.
  assert.deepEqual(get('positions'), [1, 2, 1, 3, 4]);
  assert.deepEqual(get('weights'), [1, 1, 1, 1, 1]);
});

test('few buckets: everything is rounded up to a few sizes', () => {
  assert.deepEqual([1, 8, 15, 17, 33, 100].map(roundToSize), [1, 8, 15, 18, 36, 104]);
  const sequences = Array.from({ length: 11 }, (_, i) => ({ promptIds: [i + 1], responseIds: Array(9).fill(3) }));
  const { bucket } = packSequences(sequences, { reduction: 'sum', fewBuckets: true });
  assert.equal(bucket.R, 104);
});

test('sequences that cannot be scored are refused with the reason', () => {
  const a = tinyArchitecture({ contextLength: 8 });
  const check = (promptIds: number[], responseIds: number[]) => () =>
    checkSequence({ promptIds, responseIds }, a, 'here');
  assert.throws(check([], [1]), /here: the prompt has no token/);
  assert.throws(check([1], []), /here: the response has no token/);
  assert.throws(check([1], [a.vocabSize]), /not in the vocabulary/);
  assert.throws(check([1, 2, 3, 4, 5], [1, 2, 3, 4, 5]), /context of 8/);
  assert.doesNotThrow(check([1, 2, 3, 4], [1, 2, 3, 4, 5]));
});
