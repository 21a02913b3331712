import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SampledResponse } from '../data/pairs.ts';
import type { RoundPair } from '../data/round-pairs.ts';
import { type ImportanceSettings, weightPairs } from './importance.ts';

const sequence = (length: number) => ({ promptIds: [1], responseIds: Array<number>(length).fill(5) });
type Side = { sampler: number[] | null; reference: number[] };

/** Pairs with these log-probabilities per token under the sampler and under the reference. */
function weigh(
  config: Partial<ImportanceSettings>,
  pairs: { chosen?: Side; rejected: Side; isPromptTruncated?: boolean }[],
) {
  const plain: Side = { sampler: [-1], reference: [-1] };
  const sampled = ({ sampler, reference }: Side): SampledResponse => ({
    policyId: 'pol_1',
    responseIds: sequence(reference.length).responseIds,
    logps: sampler,
  });
  const items = pairs.map(({ chosen = plain, rejected, isPromptTruncated = false }) => {
    const pair: RoundPair = {
      id: 'pref_1',
      prompt: 'x',
      chosen: 'a',
      rejected: 'b',
      isSteered: false,
      sampled: { promptIds: [1], chosen: sampled(chosen), rejected: sampled(rejected) },
      split: 'train',
      xid: '1',
      learnedIn: null,
      tenant: 'default',
      source: 'comparison',
      created_by: 'unknown',
      rater: 'r1',
    };
    const tokens = {
      chosen: sequence(chosen.reference.length),
      rejected: sequence(rejected.reference.length),
      isPromptTruncated,
      isResponseTruncated: false,
    };
    return { pair, tokens };
  });
  const scored = pairs.map(({ chosen = plain, rejected }, at) => ({
    chosen: items[at]!.tokens.chosen,
    rejected: items[at]!.tokens.rejected,
    refChosenLogps: Float32Array.from(chosen.reference),
    refRejectedLogps: Float32Array.from(rejected.reference),
  }));
  const weighted = weightPairs({ negatives: 'rejected', weight_cap: 1e6, ...config }, items, scored);
  return { ...weighted, weights: weighted.pairs.map((pair) => pair.importance!.rejected) };
}

/** A response of one token, `ratio` times as likely under the reference as under its sampler. */
const oneToken = (ratio: number) => ({ rejected: { sampler: [-1], reference: [Math.log(ratio) - 1] } });
const assertNear = (actual: number, expected: number) => assert.ok(Math.abs(actual - expected) < 1e-5, `${actual}`);
const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

test('with three possible responses, negatives of another sampler get exactly π_ref / μ', () => {
  const [reference, sampler] = [
    [0.5, 0.3, 0.2],
    [0.2, 0.3, 0.5],
  ] as const;
  // In proportion to the sampler's probabilities.
  const responses = [0, 0, 1, 1, 1, 2, 2, 2, 2, 2] as const;
  const { weights } = weigh(
    {},
    responses.map((response) => oneToken(reference[response] / sampler[response])),
  );
  for (const [at, response] of responses.entries()) assertNear(weights[at]!, reference[response] / sampler[response]);
});

test('a weight is the ratio over all tokens whose log-probability is known under both policies', () => {
  // The third token is the end-of-text, whose log-probability under the sampler is not stored.
  const long = { sampler: [-1.5, -1.25], reference: [-1, -1, -3] };
  const { weights } = weigh({}, [{ rejected: long }, oneToken(1)]);
  assertNear(weights[0]! / weights[1]!, Math.exp(0.75));
});

test('weights of a distant sampler average 1, keep their order and stay within the cap', () => {
  const ratios = Array.from({ length: 50 }, (_, i) => 40 * Math.sin(7 * i) - 300);
  const pairs = ratios.map((ratio) => ({ rejected: { sampler: [-500], reference: [ratio - 500] } }));
  const { weights, capped, effectiveSampleSize } = weigh({ weight_cap: 2 }, pairs);
  assertNear(mean(weights), 1);
  assert.ok(weights.every((weight) => weight >= 0 && weight <= 2));
  for (const [i, a] of ratios.entries())
    for (const [j, b] of ratios.entries()) if (a > b) assert.ok(weights[i]! >= weights[j]!);
  assert.ok(capped >= 24 && capped <= 25, String(capped));
  assert.ok(effectiveSampleSize > 24.9 && effectiveSampleSize < 26, String(effectiveSampleSize));
});

test('a cap of 1 turns the weighting off, and a cap that is not reached changes only the scale', () => {
  const pairs = [0.1, 3, 0.5].map(oneToken);
  assert.deepEqual(weigh({ weight_cap: 1 }, pairs).weights, [1, 1, 1]);
  const { weights } = weigh({}, pairs);
  assertNear(mean(weights), 1);
  assertNear(weights[1]! / weights[0]!, 30);
  const cut = weigh({ weight_cap: 2 }, pairs);
  assertNear(cut.weights[1]!, 2);
  assertNear(mean(cut.weights), 1);
  assertNear(cut.weights[2]! / cut.weights[0]!, 5);
  assert.equal(cut.capped, 1);
});

test('a side without log-probabilities or with a truncated prompt has weight 1 and is not counted as known', () => {
  const without = { rejected: { sampler: null, reference: [-2] } };
  const { weights, known, negatives } = weigh({}, [
    without,
    oneToken(4),
    oneToken(1),
    { ...oneToken(9), isPromptTruncated: true },
  ]);
  assert.deepEqual([known, negatives, weights[0], weights[3]], [2, 4, 1, 1]);
  assertNear(weights[1]!, 1.6);
});

test('negatives=both weights the chosen responses too', () => {
  const pairs = [{ chosen: { sampler: [-1], reference: [-2] }, ...oneToken(1) }];
  assert.equal(weigh({}, pairs).pairs[0]!.importance!.chosen, 1);
  const { chosen, rejected } = weigh({ negatives: 'both' }, pairs).pairs[0]!.importance!;
  assertNear(chosen / rejected, Math.exp(-1));
  assertNear(chosen + rejected, 2);
});
