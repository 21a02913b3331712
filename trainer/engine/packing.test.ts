import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seedRandom } from '../../shared/decoder/random.ts';
import { tinyArchitecture } from '../../testing/tiny-checkpoint.ts';
import { attentionCostOf, inputLength, layOut, planGroups, tokensOf } from './packing.ts';

const story = tinyArchitecture({ layers: 6, hiddenSize: 288, intermediateSize: 768, heads: 6, kvHeads: 6 });
const attention = attentionCostOf(story);
const ids = (first: number, length: number) => Array.from({ length }, (_, i) => first + i);

/** Pairs of one prompt and responses of 64 to 150 tokens. */
function drawPairs(count: number) {
  const uniform = seedRandom(1, 0);
  const whole = (from: number, to: number) => from + Math.floor(uniform() * (to - from + 1));
  return Array.from({ length: count }, (_, i) => {
    const promptIds = ids(i, whole(20, 30));
    return [whole(64, 150), whole(64, 150)].map((length) => ({ promptIds, responseIds: ids(0, length) }));
  });
}

test('a shared prompt is computed once, and another prompt is not shared', () => {
  const responseIds = ids(9, 20);
  const same = layOut(
    [0, 0].map(() => ({ promptIds: ids(1, 20), responseIds })),
    attention,
  );
  assert.deepEqual(same, { ...same, T: 64, rows: [[{ members: [0, 1], length: 58 }]] });
  const different = layOut(
    [1, 2].map((first) => ({ promptIds: ids(first, 20), responseIds })),
    attention,
  );
  assert.deepEqual(
    different.rows.flat().map(({ members }) => members),
    [[0], [1]],
  );
});

test('a short prompt of long responses is not shared, because attention over the long row costs more', () => {
  const long = [0, 0].map(() => ({ promptIds: [1, 2], responseIds: ids(9, 1500) }));
  assert.equal(layOut(long, attention).rows.flat().length, 2);
});

test('groups hold every pair once, within the budget, and little of them is padding', () => {
  const items = drawPairs(64);
  for (const budget of [512, 1024, 2048]) {
    const groups = planGroups(items, budget, attention);
    assert.deepEqual(
      groups.flat().sort((a, b) => a - b),
      ids(0, 64),
    );
    let held = 0;
    let computed = 0;
    for (const group of groups) {
      const layout = layOut(
        group.flatMap((i) => items[i]!),
        attention,
      );
      assert.ok(tokensOf(layout) <= budget || group.length === 1);
      computed += tokensOf(layout);
      for (const { length } of layout.rows.flat()) held += length;
    }
    const waste = 1 - held / computed;
    assert.ok(waste < 0.15, `${budget}: ${waste}`);
    const unpacked = items.flat().reduce((sum, sequence) => sum + inputLength(sequence), 0);
    assert.ok(computed < unpacked, `${budget}: ${computed} is not below ${unpacked}`);
  }
});

test('what alone is more than the budget is a group of its own', () => {
  const one = (length: number) => [{ promptIds: [1], responseIds: ids(2, length) }];
  assert.deepEqual(planGroups([one(10), one(900), one(12)], 100, attention), [[1], [2, 0]]);
  assert.deepEqual(planGroups([], 100, attention), []);
});
