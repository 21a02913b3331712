import assert from 'node:assert/strict';
import { test } from 'node:test';
import { computeMetrics, quantile } from './serving-metrics.ts';

const outcome = (streams: number[][]) => ({
  streams: streams.map((tokenTimesMs) => ({ tokenTimesMs, tokenIds: [] })),
  loadSeconds: 1.5,
  peakBytes: 3 * 2 ** 20,
  otherCores: 0,
});

test('the decode rate of a single stream excludes its first token', () => {
  const metrics = computeMetrics(outcome([[100, 110, 120, 130]]), 50);
  assert.equal(metrics.decodeRate, 100);
  assert.equal(metrics.prefillRate, 500);
  assert.equal(metrics.ttftMs, 100);
  assert.equal(metrics.itlP50Ms, 10);
  assert.equal(Math.round(metrics.overallRate), Math.round(4000 / 130));
  assert.equal(metrics.peakMiB, 3);
});

test('the decode rate counts only the time in which every stream decodes', () => {
  // The first stream is alone until 200, the second from 230; between, both have a token every ten milliseconds.
  const first = [100, 120, 140, 160, 180, 200, 210, 220, 230];
  const second = [200, 210, 220, 230, 330, 430, 530];
  const metrics = computeMetrics(outcome([first, second]), 10);
  assert.equal(metrics.decodeRate, 200);
  assert.equal(metrics.prefillRate, 100);
});

test('streams that never decode at the same time are counted over the whole run', () => {
  assert.equal(
    computeMetrics(
      outcome([
        [10, 20],
        [40, 50],
      ]),
      1,
    ).decodeRate,
    50,
  );
});

test('a stall shows in the p95 of token latencies, not in the median', () => {
  const metrics = computeMetrics(outcome([[...Array.from({ length: 10 }, (_, i) => 10 * i + 10), 500]]), 1);
  assert.equal(metrics.itlP50Ms, 10);
  assert.equal(metrics.itlP95Ms, 400);
});

test('a quantile is one of the values', () => {
  assert.equal(quantile([3, 1, 2], 0.5), 2);
  assert.equal(quantile([1, 2, 3, 4], 0.5), 2);
  assert.equal(quantile([1, 2, 3, 4], 0.95), 4);
});
