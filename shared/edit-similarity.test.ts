import assert from 'node:assert/strict';
import { test } from 'node:test';
import { editSimilarity } from './edit-similarity.ts';
import { mulberry32 } from './random.ts';

/** The whole matrix. */
function plainDistance(a: number[], b: number[]): number {
  let above = [...Array(b.length + 1).keys()];
  for (const [i, x] of a.entries()) {
    const row = [i + 1];
    for (const [j, y] of b.entries()) row.push(Math.min(above[j]! + (x === y ? 0 : 1), above[j + 1]! + 1, row[j]! + 1));
    above = row;
  }
  return above[b.length]!;
}

test('equal responses have a similarity of 1, and one changed token of ten is a similarity of 0.9', () => {
  const tokens = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
  assert.equal(editSimilarity(tokens, tokens), 1);
  assert.equal(editSimilarity(tokens, tokens.with(4, 99)), 0.9);
  assert.equal(editSimilarity(tokens, tokens.with(4, 99), 0.9), 0.9);
  assert.equal(editSimilarity(tokens, tokens.slice(1), 0.9), 0.9);
  assert.equal(
    editSimilarity(
      tokens,
      tokens.toReversed().map((token) => token + 20),
    ),
    0,
  );
});

test('the band gives the distance of the whole matrix, and 0 below the floor', () => {
  const uniform = mulberry32(1);
  const draw = (length: number) => Array.from({ length }, () => Math.floor(uniform() * 4));
  for (let at = 0; at < 2000; at++) {
    const [a, b] = [draw(1 + (at % 13)), draw(1 + (at % 11))];
    const expected = 1 - plainDistance(a, b) / Math.max(a.length, b.length);
    const floor = uniform();
    assert.ok(Math.abs(editSimilarity(a, b) - expected) < 1e-12);
    const above = expected >= floor ? expected : 0;
    assert.ok(Math.abs(editSimilarity(a, b, floor) - above) < 1e-12, `${a} | ${b} | ${floor}`);
  }
});
