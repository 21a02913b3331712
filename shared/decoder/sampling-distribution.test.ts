// Tests the distribution of many samples against a plain reference in double precision: a chi-square test at p = 1e-6
// with fixed seeds. No impossible token may be sampled and no probable one missed, which finds filters that are off by
// one token.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seedRandom } from './random.ts';
import { type DistributionParams, NEUTRAL_SAMPLING, sampleToken } from './sampling.ts';
import { type TokenMask, toTokenMask } from './token-mask.ts';

type Counts = ReadonlyMap<number, number>;

/** The probability of each token after bias, penalties, mask, temperature, top_k, top_p and min_p, in this order. */
function expectedProbabilities(
  logits: Float32Array,
  params: DistributionParams,
  counts: Counts,
  isAllowed: (token: number) => boolean,
): Float64Array {
  const shaped = Float64Array.from(logits, (logit, token) => {
    const count = counts.get(token) ?? 0;
    const penalty = count > 0 ? count * params.frequencyPenalty + params.presencePenalty : 0;
    return isAllowed(token) ? logit + (params.logitBias[token] ?? 0) - penalty : -Infinity;
  });
  const peak = shaped.reduce((a, b) => Math.max(a, b));
  const weights = shaped.map((logit) => Math.exp((logit - peak) / params.temperature));
  const sum = (tokens: number[]) => tokens.reduce((total, token) => total + weights[token]!, 0);
  let kept = [...weights.keys()].sort((a, b) => shaped[b]! - shaped[a]! || a - b);
  if (params.topK > 0) kept = kept.slice(0, params.topK);
  if (params.topP < 1) {
    const goal = params.topP * sum(kept);
    let mass = 0;
    const last = kept.findIndex((token) => {
      mass += weights[token]!;
      return mass >= goal;
    });
    kept = last < 0 ? kept : kept.slice(0, last + 1);
  }
  kept = kept.filter((token) => weights[token]! >= params.minP);
  const total = sum(kept);
  const probabilities = new Float64Array(logits.length);
  for (const token of kept) probabilities[token] = weights[token]! / total;
  return probabilities;
}

/** As the graph computes it: in single precision. */
function logSumExp(logits: Float32Array): number {
  const peak = logits.reduce((a, b) => Math.max(a, b));
  return Math.fround(peak + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - peak), 0)));
}

function sampleMany(
  logits: Float32Array,
  params: DistributionParams,
  samples: number,
  counts: Counts,
  mask: TokenMask | null = null,
): Float64Array {
  const random = seedRandom(17, 0);
  const logNormalizer = logSumExp(logits);
  const row = new Float32Array(logits.length);
  const seen = new Float64Array(logits.length);
  for (let i = 0; i < samples; i++) {
    row.set(logits);
    seen[sampleToken(row, logNormalizer, params, counts, random, mask)]!++;
    if (i === 0) assert.deepEqual(row, logits, 'the logits are restored');
  }
  return seen;
}

/** The chi-square value that is exceeded with p = 1e-6 (Wilson and Hilferty's approximation). */
function criticalValue(freedom: number): number {
  const width = 2 / (9 * freedom);
  return freedom * (1 - width + 4.7534 * Math.sqrt(width)) ** 3;
}

function assertFits(seen: Float64Array, probabilities: Float64Array): void {
  const samples = seen.reduce((a, b) => a + b);
  let chiSquare = 0;
  let cells = 0;
  let [rareSeen, rareExpected] = [0, 0];
  for (const [token, probability] of probabilities.entries()) {
    const expected = probability * samples;
    if (probability === 0) assert.equal(seen[token], 0, `token ${token} has probability 0 and was sampled`);
    if (expected > 30) assert.ok(seen[token]! > 0, `token ${token}, expected ${expected} times, was never sampled`);
    if (expected < 5) {
      rareSeen += seen[token]!;
      rareExpected += expected;
    } else {
      chiSquare += (seen[token]! - expected) ** 2 / expected;
      cells++;
    }
  }
  if (rareExpected >= 5) {
    chiSquare += (rareSeen - rareExpected) ** 2 / rareExpected;
    cells++;
  }
  if (cells < 2) return;
  const bound = criticalValue(cells - 1);
  assert.ok(chiSquare < bound, `chi-square ${chiSquare.toFixed(1)} of ${cells} cells, at most ${bound.toFixed(1)}`);
}

function assertDistribution(
  logits: ArrayLike<number>,
  options: Partial<DistributionParams>,
  samples: number,
  counts: Counts = new Map(),
  isAllowed?: (token: number) => boolean,
) {
  const row = Float32Array.from(logits);
  const params = { ...NEUTRAL_SAMPLING, ...options };
  const mask = isAllowed ? toTokenMask(Uint8Array.from(row, (_, token) => Number(isAllowed(token)))) : null;
  const expected = expectedProbabilities(row, params, counts, isAllowed ?? (() => true));
  assertFits(sampleMany(row, params, samples, counts, mask), expected);
}

const SMALL = [2, 1, 0.5, 0, -1, -3, 1.5, 0.2, 1.1, -0.4, 0.7, -6];
const GENERATED = new Map([0, 6, 5].map((token, i) => [token, i + 1]));

for (const temperature of [0.4, 1, 1.8]) {
  test(`samples every combination of filters and penalties correctly at temperature ${temperature}`, () => {
    for (const topP of [1, 0.83])
      for (const topK of [0, 5])
        for (const minP of [0, 0.12])
          for (const isPenalized of [false, true]) {
            const penalties = isPenalized
              ? { frequencyPenalty: 0.5, presencePenalty: -0.7, logitBias: { 3: 1.5 } }
              : {};
            const params = { temperature, topP, topK, minP, ...penalties };
            assertDistribution(SMALL, params, 50_000, isPenalized ? GENERATED : new Map());
          }
  });
}

/** 50,000 logits like a model's: most improbable, and a few hundred probable ones, mostly at the start. */
function makePeaked(seed: number): Float32Array {
  const random = seedRandom(seed, 0);
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const logits = Float32Array.from({ length: 50_000 }, (_, token) => 2.2 * normal() - 1.5 * Math.log1p(token / 200));
  for (let rank = 0; rank < 300; rank++) {
    const token = Math.floor(logits.length * random() ** 3);
    logits[token] = Math.max(logits[token]!, 14 - 2 * Math.log1p(rank) - random());
  }
  return logits;
}

const PEAKED = makePeaked(5);
const BY_PROBABILITY = [...PEAKED.keys()].sort((a, b) => PEAKED[b]! - PEAKED[a]!);
const REPEATED = new Map(BY_PROBABILITY.slice(0, 40).map((token, rank) => [token, 1 + (rank % 3)]));

const LARGE: Record<string, [Partial<DistributionParams>, Counts?]> = {
  'temperature 1': [{}],
  'temperature 0.7': [{ temperature: 0.7 }],
  'temperature 1.4': [{ temperature: 1.4 }],
  'top_p 0.9': [{ topP: 0.9 }],
  'temperature 0.7 and top_p 0.9': [{ temperature: 0.7, topP: 0.9 }],
  'temperature 1.3 and top_p 0.6': [{ temperature: 1.3, topP: 0.6 }],
  'top_k 40': [{ topK: 40 }],
  'top_k 1000': [{ topK: 1000, temperature: 0.8 }],
  'top_k 40, top_p 0.8 and temperature 0.8': [{ topK: 40, topP: 0.8, temperature: 0.8 }],
  'min_p 0.02': [{ minP: 0.02 }],
  'penalties and top_p 0.9': [{ frequencyPenalty: 0.6, presencePenalty: 0.4, topP: 0.9 }, REPEATED],
  'penalties and a bias': [{ frequencyPenalty: 1, logitBias: { [BY_PROBABILITY[3]!]: -100, 49999: 14 } }, REPEATED],
};
for (const [name, [params, counts]] of Object.entries(LARGE)) {
  test(`samples correctly from 50,000 tokens: ${name}`, () => assertDistribution(PEAKED, params, 12_000, counts));
}

const MASKS: Record<string, (token: number) => boolean> = {
  'few tokens': (token) => token % 499 === 3,
  'all but few tokens': (token) => token % 499 !== 3,
  'all but the most probable tokens': (token) => PEAKED[token]! < 4,
  'one token': (token) => token === 49_999,
};
for (const [name, isAllowed] of Object.entries(MASKS)) {
  test(`samples correctly where a mask allows ${name}`, () => {
    const [boosted] = BY_PROBABILITY.filter(isAllowed);
    const cases: Partial<DistributionParams>[] = [
      {},
      { temperature: 0.7, topP: 0.9 },
      { temperature: 1.4 },
      { topK: 40, minP: 0.02 },
      { frequencyPenalty: 0.6, presencePenalty: -0.4, logitBias: { [boosted!]: 2, [BY_PROBABILITY[0]!]: 9, 77: -100 } },
    ];
    for (const params of cases) assertDistribution(PEAKED, params, 800, REPEATED, isAllowed);
    for (const isMasked of [(token: number) => token < 3, (token: number) => token !== 0])
      assertDistribution(SMALL, { temperature: 0.8 }, 5000, GENERATED, isMasked);
  });
}

test('a mask restricts greedy decoding too', () => {
  for (const isAllowed of Object.values(MASKS)) {
    const mask = toTokenMask(Uint8Array.from(PEAKED, (_, token) => Number(isAllowed(token))));
    const params = { ...NEUTRAL_SAMPLING, temperature: 0 };
    const token = sampleToken(PEAKED, logSumExp(PEAKED), params, new Map(), () => 0.5, mask);
    assert.equal(token, BY_PROBABILITY.find(isAllowed));
  }
});

test('among equal logits the filters keep the first tokens', () => {
  const even = Array.from({ length: 400 }, () => 1.25);
  for (const params of [{ topK: 7 }, { topP: 0.25 }, { topK: 8, topP: 0.5 }, { topP: 0.25, temperature: 0.5 }]) {
    const seen = sampleMany(Float32Array.from(even), { ...NEUTRAL_SAMPLING, ...params }, 10_000, new Map());
    const kept = { topK: even.length, topP: 1, ...params };
    assert.equal(seen.findLastIndex((times) => times > 0) + 1, kept.topK * kept.topP);
    assertDistribution(even, params, 10_000);
  }
  assertDistribution([0, 1, 1, 0, 1, 0, 0], { topK: 5 }, 20_000);
  assertDistribution([3, 0, 0, 0, 0], { topP: 0.9 }, 20_000);
  assertDistribution(even, {}, 20_000);
});

test('never samples a token with logit -inf', () => {
  const logits = [-Infinity, 0, 1, -Infinity, 0.5];
  for (const params of [{}, { topK: 4 }, { topP: 0.999999 }, { temperature: 2 }, { minP: 1e-9 }])
    assertDistribution(logits, params, 20_000);
  assertDistribution(logits, { logitBias: { 0: 100, 1: -2 } }, 20_000);
  assertDistribution(logits, { frequencyPenalty: -2 }, 20_000, new Map([[3, 5]]));
});

test('samples the only token, and one that outweighs all others', () => {
  for (const params of [{}, { topK: 3 }, { topP: 0.5 }, { temperature: 0 }, { minP: 1 }, { logitBias: { 0: -100 } }])
    assert.equal(sampleMany(Float32Array.of(-2), { ...NEUTRAL_SAMPLING, ...params }, 10, new Map())[0], 10);
  for (const temperature of [0.02, 1, 2])
    assertDistribution(SMALL, { temperature, logitBias: { 5: 100, 0: -100 } }, 20_000);
});

test('top_k 1 and top_p 0 are greedy, among equal logits too', () => {
  const random = seedRandom(3, 3);
  for (let round = 0; round < 300; round++) {
    // Few distinct values, so that most rows have several largest logits.
    const length = 1 + Math.floor(random() * 300);
    const logits = Float32Array.from({ length }, () => Math.floor(random() * 12) / 4);
    const sample = (options: Partial<DistributionParams>) =>
      sampleToken(Float32Array.from(logits), logSumExp(logits), { ...NEUTRAL_SAMPLING, ...options }, new Map(), random);
    const greedy = logits.indexOf(Math.max(...logits));
    for (const temperature of [0.3, 1, 1.7]) {
      assert.equal(sample({ temperature: 0 }), greedy);
      assert.equal(sample({ temperature, topK: 1 }), greedy);
      assert.equal(sample({ temperature, topP: 0 }), greedy);
    }
  }
});
