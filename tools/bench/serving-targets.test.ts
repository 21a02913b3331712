import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CaseResult, PeerResult } from './run-case.ts';
import type { ServingMetrics } from './serving-metrics.ts';
import { evaluateTargets } from './serving-targets.ts';

const metrics = (decode: number): ServingMetrics => ({
  decodeRate: decode,
  overallRate: decode,
  prefillRate: 10 * decode,
  ttftMs: 1,
  itlP50Ms: 1,
  itlP95Ms: 1,
  peakMiB: 1,
  loadSeconds: 1,
  otherCores: 0,
});

const result = (peer: string, rates: number[], otherCores = 0): PeerResult => ({
  peer,
  rounds: rates.map(metrics),
  median: { ...metrics(rates.toSorted((a, b) => a - b)[rates.length >> 1]!), otherCores },
  best: metrics(Math.max(...rates)),
  roofline: { decode: 1, prefill: 1 },
  failures: [],
});

const oneStream = (results: PeerResult[]): CaseResult => ({ streams: 1, promptLength: 32, tokens: 64, results });

test('a target compares runs of the same round, not medians over time', () => {
  // Both ran at half speed in the middle round, whose ratio is still valid.
  const cases = [oneStream([result('attune:row8', [200, 100, 210]), result('transformers:q8', [100, 50, 100])])];
  const decoding = evaluateTargets(cases).find(({ metric }) => metric === 'decoding')!;
  assert.equal(decoding.medianRatio, 2);
  assert.equal(decoding.bestRatio, 2.1);
  assert.equal(decoding.isNoisy, false);
});

test('a ratio is marked as noisy if other processes ran during either measurement', () => {
  const cases = [oneStream([result('attune:row8', [100]), result('llama:Q8_0', [10], 0.9)])];
  assert.ok(evaluateTargets(cases).every(({ isNoisy }) => isNoisy));
});

test('a target without measurements is left out', () => {
  assert.deepEqual(evaluateTargets([oneStream([result('attune:row8', [100])])]), []);
});
