import assert from 'node:assert/strict';
import { test } from 'node:test';
import { measure, quantile } from './measure.ts';

const outcome = (all: number[][]) => ({
  streams: all.map((marks) => ({ marks, tokenIds: [] })),
  loadSeconds: 1.5,
  peakBytes: 3 * 2 ** 20,
  others: 0,
});

test('a single stream decodes at one token per gap, its first token left out', () => {
  const figures = measure(outcome([[100, 110, 120, 130]]), 50);
  assert.equal(figures.decode, 100);
  assert.equal(figures.prefill, 500);
  assert.equal(figures.firstToken, 100);
  assert.equal(figures.gapMedian, 10);
  assert.equal(Math.round(figures.overall), Math.round(4000 / 130));
  assert.equal(figures.peakMiB, 3);
});

test('decoding counts only while every stream decodes', () => {
  // The first runs alone until 200, the second alone from 230: between, both have a token every ten milliseconds.
  const first = [100, 120, 140, 160, 180, 200, 210, 220, 230];
  const second = [200, 210, 220, 230, 330, 430, 530];
  const figures = measure(outcome([first, second]), 10);
  assert.equal(figures.decode, 200);
  assert.equal(figures.prefill, 100);
});

test('streams that never decode together are counted over the whole', () => {
  assert.equal(
    measure(
      outcome([
        [10, 20],
        [40, 50],
      ]),
      1,
    ).decode,
    50,
  );
});

test('a stall shows in the tail of the gaps and not in the middle', () => {
  const figures = measure(outcome([[...Array.from({ length: 10 }, (_, i) => 10 * i + 10), 500]]), 1);
  assert.equal(figures.gapMedian, 10);
  assert.equal(figures.gapP95, 400);
});

test('a quantile is one of the values', () => {
  assert.equal(quantile([3, 1, 2], 0.5), 2);
  assert.equal(quantile([1, 2, 3, 4], 0.5), 2);
  assert.equal(quantile([1, 2, 3, 4], 0.95), 4);
});
