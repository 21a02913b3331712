import assert from 'node:assert/strict';
import { test } from 'node:test';
import { kvBlocksOf, type Prefix, PrefixCache } from './prefix-cache.ts';

/** 40 bytes, told apart by its number. */
const compute = (number: number) => ({
  block: { length: 1, data: new Float32Array(8).fill(number) },
  logits: new Float32Array(2),
  logNormalizer: number,
});

test('a chunk is found after the chunks it was computed after, and nowhere else', () => {
  const prefixes = new PrefixCache();
  const first = prefixes.add(null, [1, 2], compute(1));
  const second = prefixes.add(first, [3], compute(2));
  assert.equal(prefixes.find(null, [1, 2]), first);
  assert.equal(prefixes.find(first, [3]), second);
  for (const [parent, tokens] of [
    [null, [3]],
    [null, [1]],
    [null, [12]],
    [null, [1, 2, 3]],
    [second, [3]],
    [first, [1, 2]],
  ] as [Prefix | null, number[]][]) {
    assert.equal(prefixes.find(parent, tokens), undefined, `${tokens} after ${parent?.serial}`);
  }
  assert.deepEqual(
    kvBlocksOf(second).map(({ data }) => data[0]),
    [1, 2],
  );
});

test('the least recently used goes first, and what it continues goes after it', () => {
  const prefixes = new PrefixCache();
  const root = prefixes.add(null, [1], compute(1));
  const old = prefixes.add(root, [2], compute(2));
  prefixes.add(root, [3], compute(3));
  const other = prefixes.add(null, [4], compute(4));
  prefixes.touch(old);
  assert.equal(prefixes.bytes, 160);
  prefixes.trim(159);
  assert.equal(prefixes.find(root, [3]), undefined);
  prefixes.trim(80);
  assert.equal(prefixes.find(null, [4]), undefined, 'other was used before old');
  assert.deepEqual([prefixes.find(null, [1]), prefixes.find(root, [2])], [root, old]);
  prefixes.trim(40);
  assert.deepEqual([prefixes.find(null, [1]), prefixes.find(root, [2])], [root, undefined]);
  prefixes.trim(0);
  assert.equal(prefixes.bytes, 0);
  assert.equal(other.logNormalizer, 4);
});

test('a prompt under way brings back what was let go of in the meantime', () => {
  const prefixes = new PrefixCache();
  const first = prefixes.add(null, [1], compute(1));
  prefixes.trim(0);
  const second = prefixes.add(first, [2], compute(2));
  assert.equal(prefixes.bytes, 80);
  assert.equal(prefixes.find(prefixes.find(null, [1])!, [2]), second);
});
