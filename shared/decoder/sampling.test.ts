import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seedRandom } from './random.ts';
import { type DistributionParams, NEUTRAL_SAMPLING, sampleToken, selectTopLogprobs } from './sampling.ts';

const LOGITS = [2, 1, 0.5, 0, -1, -3, 1.5, 0.2];

/** How often each token is sampled. */
function count(
  logits: number[],
  params: Partial<DistributionParams>,
  samples: number,
  counts = new Map<number, number>(),
) {
  const random = seedRandom(11, 0);
  const seen = new Array<number>(logits.length).fill(0);
  for (let i = 0; i < samples; i++) {
    seen[
      sampleToken(Float32Array.from(logits), logSumExp(logits), { ...NEUTRAL_SAMPLING, ...params }, counts, random)
    ]!++;
  }
  return seen;
}

function logSumExp(logits: number[]): number {
  return Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0));
}

function softmax(logits: number[]): number[] {
  const weights = logits.map(Math.exp);
  const total = weights.reduce((a, b) => a + b);
  return weights.map((weight) => weight / total);
}

/** The chi-square is below its 0.999 quantile, and tokens with probability 0 are never sampled. */
function assertFollows(seen: number[], expected: number[]) {
  const quantile: Record<number, number> = { 1: 10.8, 2: 13.8, 3: 16.3, 7: 24.3 };
  const samples = seen.reduce((a, b) => a + b);
  let chiSquare = 0;
  for (const [token, p] of expected.entries()) {
    if (p === 0) assert.equal(seen[token], 0, `token ${token} has probability 0`);
    else chiSquare += (seen[token]! - p * samples) ** 2 / (p * samples);
  }
  const freedom = expected.filter((p) => p > 0).length - 1;
  assert.ok(chiSquare < quantile[freedom]!, `chi-square ${chiSquare} with ${freedom} degrees of freedom`);
}

const renormalize = (probabilities: number[], keep: number[]) => {
  const mass = keep.reduce((sum, token) => sum + probabilities[token]!, 0);
  return probabilities.map((p, token) => (keep.includes(token) ? p / mass : 0));
};

test('samples follow the softmax of the logits', () => {
  assertFollows(count(LOGITS, {}, 50_000), softmax(LOGITS));
});

test('temperature divides the logits', () => {
  for (const temperature of [0.5, 2]) {
    assertFollows(count(LOGITS, { temperature }, 50_000), softmax(LOGITS.map((logit) => logit / temperature)));
  }
});

test('a temperature of 0 or near 0 is greedy and selects the first of equal logits', () => {
  for (const temperature of [0, 1e-300, 1e-4]) {
    assert.deepEqual(count(LOGITS, { temperature }, 20), [20, 0, 0, 0, 0, 0, 0, 0]);
  }
  assert.deepEqual(count([1, 3, 3], { temperature: 0 }, 20), [0, 20, 0]);
});

test('topK keeps the k most probable tokens', () => {
  assertFollows(count(LOGITS, { topK: 3 }, 30_000), renormalize(softmax(LOGITS), [0, 6, 1]));
  assert.deepEqual(count(LOGITS, { topK: 1 }, 20), [20, 0, 0, 0, 0, 0, 0, 0]);
});

test('topP keeps the fewest tokens that reach the mass', () => {
  // Sorted: 0.39, 0.24, 0.14, 0.09, ...
  assertFollows(count(LOGITS, { topP: 0.6 }, 30_000), renormalize(softmax(LOGITS), [0, 6]));
  assertFollows(count(LOGITS, { topP: 0.7 }, 30_000), renormalize(softmax(LOGITS), [0, 6, 1]));
  assert.deepEqual(count(LOGITS, { topP: 0 }, 20), [20, 0, 0, 0, 0, 0, 0, 0]);
});

test('topP is a share of the mass that topK keeps', () => {
  // Two tokens have 0.82 of the mass of the top three, and 0.63 of the whole mass.
  assertFollows(count(LOGITS, { topK: 3, topP: 0.8 }, 30_000), renormalize(softmax(LOGITS), [0, 6]));
});

test('minP removes tokens below its share of the largest probability', () => {
  assertFollows(count(LOGITS, { minP: 0.3 }, 30_000), renormalize(softmax(LOGITS), [0, 6, 1]));
});

test('topP reaches into the tail of a flat distribution', () => {
  const flat = Array.from({ length: 4000 }, (_, i) => (i === 0 ? 12 : 0));
  // Token 0 has exp(12) = 162,755 of 166,754; the rest share 0.024. A mass of 0.99 needs 58% of them.
  const seen = count(flat, { topP: 0.99 }, 3000);
  const sampled = seen.filter((times, token) => token > 0 && times > 0).length;
  assert.ok(sampled > 20 && sampled < 80, `${sampled} tokens of the tail`);
  assert.equal(seen.slice(2400).filter((times) => times > 0).length, 0);
});

test('logitBias adds to logits, even if its exp would overflow', () => {
  const biased = LOGITS.map((logit, token) => logit + (token === 5 ? 4 : 0));
  assertFollows(count(LOGITS, { logitBias: { 5: 4 } }, 50_000), softmax(biased));
  assert.deepEqual(count(LOGITS, { logitBias: { 5: 100, 999: 5 }, temperature: 0.01 }, 20)[5], 20);
  assert.equal(count(LOGITS, { logitBias: { 0: -100 } }, 1000)[0], 0);
});

test('penalties lower generated tokens: frequency per occurrence, presence once', () => {
  const generated = new Map([
    [0, 3],
    [6, 1],
  ]);
  const params = { frequencyPenalty: 0.5, presencePenalty: 0.25 };
  const penalized = LOGITS.map((logit, token) => logit - (token === 0 ? 1.75 : token === 6 ? 0.75 : 0));
  assertFollows(count(LOGITS, params, 50_000, generated), softmax(penalized));
});

test('sampling restores the logits', () => {
  const logits = Float32Array.from(LOGITS);
  const params = { ...NEUTRAL_SAMPLING, logitBias: { 5: 4, 0: 0.1 }, frequencyPenalty: 0.3, presencePenalty: 0.3 };
  sampleToken(logits, logSumExp(LOGITS), params, new Map([[0, 1]]), () => 0.5);
  assert.deepEqual(logits, Float32Array.from(LOGITS));
});

test('weights are accurate to ten digits at every temperature', () => {
  // With two tokens, the second one's probability gives its weight.
  for (const gap of [0.125, 1, 5]) {
    for (const temperature of [1, 0.5, 2]) {
      const p = 1 / (1 + Math.exp(gap / temperature));
      const logits = [0, -gap];
      const sample = (uniform: number) =>
        sampleToken(
          Float32Array.from(logits),
          logSumExp(logits),
          { ...NEUTRAL_SAMPLING, temperature },
          new Map(),
          () => uniform,
        );
      assert.equal(sample(1 - p - 1e-9), 0);
      assert.equal(sample(1 - p + 1e-9), 1);
    }
  }
});

test('selects the most probable tokens with their log-probabilities', () => {
  const logits = Float32Array.from(LOGITS);
  const logNormalizer = logSumExp(LOGITS);
  const ranked = selectTopLogprobs(logits, logNormalizer, 3);
  assert.deepEqual(
    ranked.map(({ tokenId }) => tokenId),
    [0, 6, 1],
  );
  assert.ok(Math.abs(Math.exp(ranked[0]!.logprob) - softmax(LOGITS)[0]!) < 1e-9);
  assert.deepEqual(selectTopLogprobs(logits, logNormalizer, 0), []);
  assert.equal(selectTopLogprobs(logits, logNormalizer, 20).length, LOGITS.length);
});
