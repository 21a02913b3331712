import assert from 'node:assert/strict';
import { test } from 'node:test';
import { collectKvBlocks, type Prefix, PrefixCache } from './prefix-cache.ts';

/** 40 bytes, identified by its number. */
const makeOutput = (number: number) => ({
  block: { length: 1, data: new Float32Array(8).fill(number), scales: null },
  logits: new Float32Array(2),
  logNormalizer: number,
});

test('finds a chunk only behind the same preceding chunks', () => {
  const cache = new PrefixCache();
  const first = cache.add('a', [1, 2], makeOutput(1));
  const second = cache.add(first, [3], makeOutput(2));
  assert.equal(cache.find('a', [1, 2]), first);
  assert.equal(cache.find(first, [3]), second);
  for (const [parent, tokens] of [
    ['a', [3]],
    ['a', [1]],
    ['a', [12]],
    ['a', [1, 2, 3]],
    [second, [3]],
    [first, [1, 2]],
  ] as [Prefix | string, number[]][]) {
    assert.equal(cache.find(parent, tokens), undefined, `${tokens} after ${JSON.stringify(parent)}`);
  }
  assert.deepEqual(
    collectKvBlocks(second).map(({ data }) => data[0]),
    [1, 2],
  );
});

test('a tenant does not find the chunks of another', () => {
  const cache = new PrefixCache();
  const first = cache.add('a', [1, 2], makeOutput(1));
  assert.equal(cache.find('b', [1, 2]), undefined);
  // A name that looks like the number of a chunk.
  assert.equal(cache.find(String(first.serial), [1, 2]), undefined);
  const second = cache.add('b', [1, 2], makeOutput(2));
  assert.deepEqual([cache.find('a', [1, 2]), cache.find('b', [1, 2])], [first, second]);
});

test('evicts the least recently used chunk first, and a chunk before the chunks that it continues', () => {
  const cache = new PrefixCache();
  const root = cache.add('a', [1], makeOutput(1));
  const old = cache.add(root, [2], makeOutput(2));
  cache.add(root, [3], makeOutput(3));
  const other = cache.add('a', [4], makeOutput(4));
  cache.touch(old);
  assert.equal(cache.bytes, 160);
  cache.trim(159);
  assert.equal(cache.find(root, [3]), undefined);
  cache.trim(80);
  assert.equal(cache.find('a', [4]), undefined, 'other was used before old');
  assert.deepEqual([cache.find('a', [1]), cache.find(root, [2])], [root, old]);
  cache.trim(40);
  assert.deepEqual([cache.find('a', [1]), cache.find(root, [2])], [root, undefined]);
  cache.trim(0);
  assert.equal(cache.bytes, 0);
  assert.equal(other.logNormalizer, 4);
});

test('adding a chunk restores evicted chunks before it', () => {
  const cache = new PrefixCache();
  const first = cache.add('a', [1], makeOutput(1));
  cache.trim(0);
  const second = cache.add(first, [2], makeOutput(2));
  assert.equal(cache.bytes, 80);
  assert.equal(cache.find(cache.find('a', [1])!, [2]), second);
});
