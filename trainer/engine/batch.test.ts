import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tinyArchitecture } from '../../shared/policy/tiny.ts';
import { checkSequence, packSequences, planGroups } from './batch.ts';

test('a packed batch feeds all but the last token and points at what comes before each response token', () => {
  const batch = packSequences(
    [{ promptIds: [5, 6], responseIds: [7, 8, 9] }, null, { promptIds: [3], responseIds: [4] }],
    'mean',
  );
  const { S, T, R } = batch.bucket;
  assert.deepEqual({ S, T, R }, { S: 3, T: 32, R: 24 });
  assert.deepEqual([...batch.ids.subarray(0, 5)], [5, 6, 7, 8, 0]);
  assert.deepEqual([...batch.ids.subarray(2 * T, 2 * T + 2)], [3, 0]);
  assert.deepEqual([...batch.positions.subarray(0, 5)], [1, 2, 3, 64, 0]);
  assert.deepEqual([...batch.targets.subarray(0, 5)], [7, 8, 9, 4, 0]);
  assert.deepEqual([...batch.rows.subarray(0, 5)], [0, 0, 0, 2, 0]);
  assert.deepEqual([...batch.weights.subarray(0, 5)], [...Float32Array.of(1 / 3, 1 / 3, 1 / 3, 1, 0)]);
  assert.deepEqual(batch.starts, [0, null, 3]);
});

test('with reduction sum every response token counts 1', () => {
  const batch = packSequences([{ promptIds: [5], responseIds: [7, 8] }], 'sum');
  assert.deepEqual([...batch.weights.subarray(0, 3)], [1, 1, 0]);
});

test('groups hold every item once, longest first, within the token budget', () => {
  const lengths = [10, 100, 33, 64, 20, 31, 90];
  const groups = planGroups(lengths, 2, 256);
  assert.deepEqual(groups, [[1], [6], [3, 2], [5, 4, 0]]);
  assert.deepEqual(planGroups([1000], 2, 256), [[0]]);
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
