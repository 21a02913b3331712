import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CHUNK_TOKENS, planChunks, planScoredChunks } from './chunking.ts';

test('splits a prompt into equal chunks, except for a shorter last one', () => {
  assert.deepEqual(planChunks(1, []), [1]);
  assert.deepEqual(planChunks(CHUNK_TOKENS, []), [CHUNK_TOKENS]);
  assert.deepEqual(planChunks(2 * CHUNK_TOKENS + 1, []), [CHUNK_TOKENS, 2 * CHUNK_TOKENS, 2 * CHUNK_TOKENS + 1]);
});

test('a shared prefix ends on a chunk boundary, and the rest is split from there', () => {
  assert.deepEqual(planChunks(3 * CHUNK_TOKENS, [CHUNK_TOKENS + 20]), [
    CHUNK_TOKENS,
    CHUNK_TOKENS + 20,
    2 * CHUNK_TOKENS + 20,
    3 * CHUNK_TOKENS,
  ]);
  assert.deepEqual(planChunks(CHUNK_TOKENS + 36, [2 * CHUNK_TOKENS]), [CHUNK_TOKENS, CHUNK_TOKENS + 36]);
  assert.deepEqual(planChunks(CHUNK_TOKENS + 1, [CHUNK_TOKENS]), [CHUNK_TOKENS, CHUNK_TOKENS + 1]);
});

test('a shared prefix that is short or the whole prompt does not change the split', () => {
  for (const shared of [0, 3, 15, 40, 41, 1000]) assert.deepEqual(planChunks(40, [shared]), [40]);
  assert.deepEqual(planChunks(40, [16]), [16, 40]);
});

test('each of several shared prefixes ends on a boundary, and what one turn computed is a prefix of the next one', () => {
  const turn = planChunks(CHUNK_TOKENS + 70, [20, 60]);
  assert.deepEqual(turn, [20, 60, CHUNK_TOKENS + 60, CHUNK_TOKENS + 70]);
  const next = planChunks(CHUNK_TOKENS + 170, [20, 60, CHUNK_TOKENS + 70]);
  assert.deepEqual(next.slice(0, turn.length), turn);
  assert.deepEqual(planChunks(100, [20, 30, 40]), [20, 40, 100]);
});

test('a given response is split after its prompt, into shorter chunks for a large vocabulary', () => {
  assert.deepEqual(planScoredChunks(10, 0, 32_000), []);
  assert.deepEqual(planScoredChunks(10, 200, 32_000), [10 + CHUNK_TOKENS, 210]);
  // Four million logits.
  assert.deepEqual(planScoredChunks(10, 40, 2 ** 18), [26, 42, 50]);
});
