import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Accuracy } from './accuracy.ts';
import type { CaseResult, PeerResult } from './run-case.ts';
import type { ServingMetrics } from './serving-metrics.ts';
import { evaluateTargets, formatTargets } from './serving-targets.ts';

const metrics = (decode: number): ServingMetrics => ({
  decodeRate: decode,
  overallRate: decode,
  prefillRate: 10 * decode,
  ttftMs: 1,
  itlP50Ms: 1,
  itlP95Ms: 1,
  peakMiB: 1,
  loadSeconds: 1.5,
  otherCores: 0,
});

const accuracy = (own: number, real: number): Accuracy => {
  const text = { tokens: 1, greedyAgreement: 1, perplexity: 2, referencePerplexity: 2 };
  return { own: { ...text, kl: own }, real: { ...text, kl: real } };
};

const result = (peer: string, rates: number[], options: Partial<PeerResult> & { otherCores?: number } = {}) => {
  const { otherCores = 0, ...rest } = options;
  const median = { ...metrics(rates.toSorted((a, b) => a - b)[rates.length >> 1]!), otherCores };
  const rounds = rates.map(metrics);
  const best = metrics(Math.max(...rates));
  const like = accuracy(0.001, 0.002);
  return { peer, accuracy: like, rounds, median, best, roofline: { decode: 1, prefill: 1 }, failures: [], ...rest };
};

const oneStream = (...results: PeerResult[]): CaseResult[] => [{ streams: 1, promptLength: 32, tokens: 64, results }];
const findDecoding = (cases: CaseResult[]) => evaluateTargets(cases).find(({ metric }) => metric === 'decoding')!;

test('a target compares runs of the same round, not medians over time', () => {
  // All ran at half speed in the middle round, whose ratio is still valid.
  const cases = oneStream(
    result('attune:row8', [200, 100, 210]),
    result('transformers:q8', [100, 50, 100]),
    result('llama-ordered:Q8_0', [50, 25, 50]),
  );
  const { median, best, isNoisy, isReached } = findDecoding(cases);
  assert.deepEqual({ median, best, isNoisy, isReached }, { median: 2, best: 2.1, isNoisy: false, isReached: true });
});

test('the better of two baselines decides', () => {
  const cases = oneStream(
    result('attune:row8', [100]),
    result('transformers:q8', [50]),
    result('llama-ordered:Q8_0', [90]),
  );
  const { baseline, isReached } = findDecoding(cases);
  assert.deepEqual({ baseline, isReached }, { baseline: 'llama-ordered:Q8_0', isReached: false });
});

test('peers that are less accurate than the bound on one of the texts, or of unknown accuracy, are named', () => {
  const cases = oneStream(
    result('attune:row8', [100], { accuracy: accuracy(0.002, 0.03) }),
    result('transformers:q8', [50], { accuracy: null }),
    result('llama-ordered:Q8_0', [50]),
  );
  assert.deepEqual(
    findDecoding(cases).lessAccurate.map(({ peer }) => peer),
    ['attune:row8', 'transformers:q8'],
  );
  assert.match(
    formatTargets(evaluateTargets(cases)),
    /reached, not at like quality: attune:row8 KL 0.0300, transformers:q8 KL unknown/,
  );
});

test('a ratio is marked as noisy if other processes ran during one of the measurements', () => {
  const cases = oneStream(result('attune-http:row8', [100]), result('attune:row8', [10], { otherCores: 0.9 }));
  assert.deepEqual(
    evaluateTargets(cases).map(({ metric, isNoisy }) => [metric, isNoisy]),
    [
      ['through HTTP', true],
      ['load, seconds', true],
    ],
  );
});

test('a target without a baseline is a value, and one without measurements is left out', () => {
  const [load, ...others] = evaluateTargets(oneStream(result('attune:row8', [100])));
  assert.deepEqual([load!.metric, load!.median, load!.isReached, others], ['load, seconds', 1.5, false, []]);
});
