import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judgeAims } from './aims.ts';
import type { CaseResult, Result } from './case.ts';
import type { Figures } from './measure.ts';

const figures = (decode: number): Figures => ({
  decode,
  overall: decode,
  prefill: 10 * decode,
  firstToken: 1,
  gapMedian: 1,
  gapP95: 1,
  peakMiB: 1,
  loadSeconds: 1,
  others: 0,
});

const result = (contender: string, rates: number[], others = 0): Result => ({
  contender,
  rounds: rates.map(figures),
  median: { ...figures(rates.toSorted((a, b) => a - b)[rates.length >> 1]!), others },
  best: figures(Math.max(...rates)),
  floor: { decode: 1, prefill: 1 },
  failures: [],
});

const oneStream = (results: Result[]): CaseResult => ({ streams: 1, promptLength: 32, tokens: 64, results });

test('an aim compares rounds that ran one after the other, not medians of different moments', () => {
  // Everything ran at half speed in the middle round, and that round's quotient is as good as any.
  const cases = [oneStream([result('attune:row8', [200, 100, 210]), result('transformers:q8', [100, 50, 100])])];
  const decoding = judgeAims(cases).find(({ what }) => what === 'decoding')!;
  assert.equal(decoding.reached, 2);
  assert.equal(decoding.ofBest, 2.1);
  assert.equal(decoding.disturbed, false);
});

test('a quotient is marked where others worked while either side was measured', () => {
  const cases = [oneStream([result('attune:row8', [100]), result('llama:Q8_0', [10], 0.9)])];
  assert.ok(judgeAims(cases).every(({ disturbed }) => disturbed));
});

test('an aim that no case can tell of is left out', () => {
  assert.deepEqual(judgeAims([oneStream([result('attune:row8', [100])])]), []);
});
