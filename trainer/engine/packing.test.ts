import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seedRandom } from '../../shared/decoder/random.ts';
import { tinyArchitecture } from '../../testing/tiny-checkpoint.ts';
import { countInputTokens, countPaddedTokens, estimateAttentionCost, packRows, planMicroBatches } from './packing.ts';

const architecture = tinyArchitecture({ layers: 6, hiddenSize: 288, intermediateSize: 768, heads: 6, kvHeads: 6 });
const attentionCost = estimateAttentionCost(architecture);
const ids = (first: number, length: number) => Array.from({ length }, (_, i) => first + i);

/** Pairs with a prompt of 20 to 30 tokens and responses of 64 to 150 tokens. */
function samplePairs(count: number) {
  const uniform = seedRandom(1, 0);
  const integer = (from: number, to: number) => from + Math.floor(uniform() * (to - from + 1));
  return Array.from({ length: count }, (_, i) => {
    const promptIds = ids(i, integer(20, 30));
    return [integer(64, 150), integer(64, 150)].map((length) => ({ promptIds, responseIds: ids(0, length) }));
  });
}

test('a shared prompt is computed once, and different prompts are not shared', () => {
  const responseIds = ids(9, 20);
  const same = packRows(
    [0, 0].map(() => ({ promptIds: ids(1, 20), responseIds })),
    attentionCost,
  );
  assert.deepEqual(same, { ...same, T: 64, rows: [[{ members: [0, 1], length: 58 }]] });
  const different = packRows(
    [1, 2].map((first) => ({ promptIds: ids(first, 20), responseIds })),
    attentionCost,
  );
  assert.deepEqual(
    different.rows.flat().map(({ members }) => members),
    [[0], [1]],
  );
});

test('a short prompt of long responses is not shared, because attention over one long row costs more', () => {
  const long = [0, 0].map(() => ({ promptIds: [1, 2], responseIds: ids(9, 1500) }));
  assert.equal(packRows(long, attentionCost).rows.flat().length, 2);
});

test('micro-batches hold every pair once, within the budget, with little padding', () => {
  const items = samplePairs(64);
  for (const budget of [512, 1024, 2048]) {
    const groups = planMicroBatches(items, budget, attentionCost);
    assert.deepEqual(
      groups.flat().sort((a, b) => a - b),
      ids(0, 64),
    );
    let used = 0;
    let computed = 0;
    for (const group of groups) {
      const layout = packRows(
        group.flatMap((i) => items[i]!),
        attentionCost,
      );
      assert.ok(countPaddedTokens(layout) <= budget || group.length === 1);
      computed += countPaddedTokens(layout);
      for (const { length } of layout.rows.flat()) used += length;
    }
    const waste = 1 - used / computed;
    assert.ok(waste < 0.15, `${budget}: ${waste}`);
    const unpacked = items.flat().reduce((sum, sequence) => sum + countInputTokens(sequence), 0);
    assert.ok(computed < unpacked, `${budget}: ${computed} is not below ${unpacked}`);
  }
});

test('an item that alone exceeds the budget is a micro-batch of its own', () => {
  const one = (length: number) => [{ promptIds: [1], responseIds: ids(2, length) }];
  assert.deepEqual(planMicroBatches([one(10), one(900), one(12)], 100, attentionCost), [[1], [2, 0]]);
  assert.deepEqual(planMicroBatches([], 100, attentionCost), []);
});
