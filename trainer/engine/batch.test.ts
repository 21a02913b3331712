import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tinyArchitecture } from '../../testing/tiny-checkpoint.ts';
import { packSequences, roundUpToBucket, validateSequence } from './batch.ts';

test('a packed batch holds all but the last token of a sequence, and the position before each response token', () => {
  const batch = packSequences(
    [{ promptIds: [5, 6], responseIds: [7, 8, 9] }, null, { promptIds: [3], responseIds: [4] }],
    { reduction: 'mean' },
  );
  const get = (name: string) => [...batch.arrays.get(name)!.data];
  assert.deepEqual(batch.bucket, { S: 1, T: 8, R: 4, P: 1 });
  assert.deepEqual(get('inputIds'), [5, 6, 7, 8, 3, 0, 0, 0]);
  assert.deepEqual(get('positionIds'), [0, 1, 2, 3, 0, 0, 0, 0]);
  assert.deepEqual(get('segmentIds'), [1, 1, 2, 2, 3, 0, 0, 0]);
  assert.deepEqual(get('parentSegmentIds'), [1, 1, 1, 1, 3, 0, 0, 0]);
  assert.deepEqual(get('logitPositions'), [1, 2, 3, 4]);
  assert.deepEqual(get('targetIds'), [7, 8, 9, 4]);
  assert.deepEqual(get('responseIndices'), [0, 0, 0, 2]);
  assert.deepEqual(get('tokenWeights'), [...Float32Array.of(1 / 3, 1 / 3, 1 / 3, 1)]);
  assert.deepEqual(batch.responseStarts, [0, null, 3]);
});

test('two responses share their prompt, and the positions of both continue from it', () => {
  const batch = packSequences(
    [
      { promptIds: [5, 6], responseIds: [7, 8] },
      { promptIds: [5, 6], responseIds: [9, 8, 4] },
    ],
    { reduction: 'sum' },
  );
  const get = (name: string) => [...batch.arrays.get(name)!.data];
  assert.deepEqual(get('inputIds'), [5, 6, 7, 9, 8, 0, 0, 0]);
  assert.deepEqual(get('positionIds'), [0, 1, 2, 2, 3, 0, 0, 0]);
  assert.deepEqual(get('segmentIds'), [1, 1, 2, 3, 3, 0, 0, 0]);
  assert.deepEqual(get('parentSegmentIds'), [1, 1, 1, 1, 1, 0, 0, 0]);
  // The prompt's last token predicts the first token of both.
  assert.deepEqual(get('logitPositions'), [1, 2, 1, 3, 4]);
  assert.deepEqual(get('tokenWeights'), [1, 1, 1, 1, 1]);
});

test('shape buckets round every extent up to one of a few sizes', () => {
  assert.deepEqual([1, 8, 15, 17, 33, 100].map(roundUpToBucket), [1, 8, 15, 18, 36, 104]);
  const sequences = Array.from({ length: 11 }, (_, i) => ({ promptIds: [i + 1], responseIds: Array(9).fill(3) }));
  const { bucket } = packSequences(sequences, { reduction: 'sum', useShapeBuckets: true });
  assert.equal(bucket.R, 104);
});

test('rejects sequences that cannot be scored and reports the reason', () => {
  const a = tinyArchitecture({ contextLength: 8 });
  const check = (promptIds: number[], responseIds: number[]) => () =>
    validateSequence({ promptIds, responseIds }, a, 'here');
  assert.throws(check([], [1]), /here: the prompt is empty/);
  assert.throws(check([1], []), /here: the response is empty/);
  assert.throws(check([1], [a.vocabSize]), /not in the vocabulary/);
  assert.throws(check([1, 2, 3, 4, 5], [1, 2, 3, 4, 5]), /context of 8/);
  assert.doesNotThrow(check([1, 2, 3, 4], [1, 2, 3, 4, 5]));
});
