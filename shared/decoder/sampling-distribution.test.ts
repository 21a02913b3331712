// Whether what the parameters say is what is drawn: many draws against a reference that does the obvious thing in
// double precision. A chi-square test at p = 1e-6 with fixed seeds; besides it, nothing impossible may be drawn and
// nothing likely may be missed, which finds a border that is off by one token.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seedRandom } from './random.ts';
import { type DistributionParams, NEUTRAL_SAMPLING, sampleToken } from './sampling.ts';

type Counts = ReadonlyMap<number, number>;

/** The probability of each token: bias, penalties, temperature, top_k, top_p, min_p, one after the other. */
function expect(logits: Float32Array, shaping: DistributionParams, counts: Counts): Float64Array {
  const shaped = Float64Array.from(logits, (logit, token) => {
    const count = counts.get(token) ?? 0;
    const penalty = count > 0 ? count * shaping.frequencyPenalty + shaping.presencePenalty : 0;
    return logit + (shaping.logitBias[token] ?? 0) - penalty;
  });
  const peak = shaped.reduce((a, b) => Math.max(a, b));
  const weights = shaped.map((logit) => Math.exp((logit - peak) / shaping.temperature));
  const sum = (tokens: number[]) => tokens.reduce((total, token) => total + weights[token]!, 0);
  let kept = [...weights.keys()].sort((a, b) => shaped[b]! - shaped[a]! || a - b);
  if (shaping.topK > 0) kept = kept.slice(0, shaping.topK);
  if (shaping.topP < 1) {
    const goal = shaping.topP * sum(kept);
    let mass = 0;
    const last = kept.findIndex((token) => {
      mass += weights[token]!;
      return mass >= goal;
    });
    kept = last < 0 ? kept : kept.slice(0, last + 1);
  }
  kept = kept.filter((token) => weights[token]! >= shaping.minP);
  const total = sum(kept);
  const probabilities = new Float64Array(logits.length);
  for (const token of kept) probabilities[token] = weights[token]! / total;
  return probabilities;
}

/** What the graph gives beside the logits: their log-sum-exp, in single precision. */
function logSumExp(logits: Float32Array): number {
  const peak = logits.reduce((a, b) => Math.max(a, b));
  return Math.fround(peak + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - peak), 0)));
}

function drawMany(
  logits: Float32Array,
  shaping: DistributionParams,
  draws: number,
  counts: Counts,
  seed = 17,
): Float64Array {
  const random = seedRandom(seed, 0);
  const logNormalizer = logSumExp(logits);
  const row = new Float32Array(logits.length);
  const seen = new Float64Array(logits.length);
  for (let i = 0; i < draws; i++) {
    row.set(logits);
    seen[sampleToken(row, logNormalizer, shaping, counts, random)]!++;
  }
  return seen;
}

/** The chi-square that is exceeded once in a million times (Wilson and Hilferty's approximation). */
function critical(freedom: number): number {
  const width = 2 / (9 * freedom);
  return freedom * (1 - width + 4.7534 * Math.sqrt(width)) ** 3;
}

function assertDrawn(seen: Float64Array, probabilities: Float64Array): void {
  const draws = seen.reduce((a, b) => a + b);
  let chiSquare = 0;
  let cells = 0;
  let [rareSeen, rareExpected] = [0, 0];
  for (const [token, probability] of probabilities.entries()) {
    const expected = probability * draws;
    if (probability === 0) assert.equal(seen[token], 0, `token ${token} is impossible and was drawn`);
    if (expected > 30) assert.ok(seen[token]! > 0, `token ${token}, expected ${expected} times, was never drawn`);
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
  const bound = critical(cells - 1);
  assert.ok(chiSquare < bound, `chi-square ${chiSquare.toFixed(1)} of ${cells} cells, at most ${bound.toFixed(1)}`);
}

function assertSays(
  logits: ArrayLike<number>,
  given: Partial<DistributionParams>,
  draws: number,
  counts: Counts = new Map(),
) {
  const row = Float32Array.from(logits);
  const shaping = { ...NEUTRAL_SAMPLING, ...given };
  assertDrawn(drawMany(row, shaping, draws, counts), expect(row, shaping, counts));
}

const SMALL = [2, 1, 0.5, 0, -1, -3, 1.5, 0.2, 1.1, -0.4, 0.7, -6];
const GENERATED = new Map([0, 6, 5].map((token, i) => [token, i + 1]));

for (const temperature of [0.4, 1, 1.8]) {
  test(`every combination of filters and penalties draws what it says at temperature ${temperature}`, () => {
    for (const topP of [1, 0.83])
      for (const topK of [0, 5])
        for (const minP of [0, 0.12])
          for (const isPenalized of [false, true]) {
            const penalties = isPenalized
              ? { frequencyPenalty: 0.5, presencePenalty: -0.7, logitBias: { 3: 1.5 } }
              : {};
            const shaping = { temperature, topP, topK, minP, ...penalties };
            assertSays(SMALL, shaping, 50_000, isPenalized ? GENERATED : new Map());
          }
  });
}

/** 50,000 logits as models have them: a wide heap of the hopeless and some hundred that count, mostly at the beginning. */
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
const LIKELY = [...PEAKED.keys()].sort((a, b) => PEAKED[b]! - PEAKED[a]!);
const REPEATED = new Map(LIKELY.slice(0, 40).map((token, rank) => [token, 1 + (rank % 3)]));

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
  'penalties and a bias': [{ frequencyPenalty: 1, logitBias: { [LIKELY[3]!]: -100, 49999: 14 } }, REPEATED],
};
for (const [name, [shaping, counts]] of Object.entries(LARGE)) {
  test(`of 50,000 tokens, ${name} draws what it says`, () => assertSays(PEAKED, shaping, 12_000, counts));
}

test('where logits are equal, the first of them are kept', () => {
  const even = Array.from({ length: 400 }, () => 1.25);
  for (const shaping of [{ topK: 7 }, { topP: 0.25 }, { topK: 8, topP: 0.5 }, { topP: 0.25, temperature: 0.5 }]) {
    const seen = drawMany(Float32Array.from(even), { ...NEUTRAL_SAMPLING, ...shaping }, 10_000, new Map());
    const kept = { topK: even.length, topP: 1, ...shaping };
    assert.equal(seen.findLastIndex((times) => times > 0) + 1, kept.topK * kept.topP);
    assertSays(even, shaping, 10_000);
  }
  assertSays([0, 1, 1, 0, 1, 0, 0], { topK: 5 }, 20_000);
  assertSays([3, 0, 0, 0, 0], { topP: 0.9 }, 20_000);
  assertSays(even, {}, 20_000);
});

test('a token of logit -inf is never drawn, whatever is asked for', () => {
  const logits = [-Infinity, 0, 1, -Infinity, 0.5];
  for (const shaping of [{}, { topK: 4 }, { topP: 0.999999 }, { temperature: 2 }, { minP: 1e-9 }])
    assertSays(logits, shaping, 20_000);
  assertSays(logits, { logitBias: { 0: 100, 1: -2 } }, 20_000);
  assertSays(logits, { frequencyPenalty: -2 }, 20_000, new Map([[3, 5]]));
});

test('of one token, or one that outweighs all, that one is drawn', () => {
  for (const shaping of [{}, { topK: 3 }, { topP: 0.5 }, { temperature: 0 }, { minP: 1 }, { logitBias: { 0: -100 } }])
    assert.equal(drawMany(Float32Array.of(-2), { ...NEUTRAL_SAMPLING, ...shaping }, 10, new Map())[0], 10);
  for (const temperature of [0.02, 1, 2]) assertSays(SMALL, { temperature, logitBias: { 5: 100, 0: -100 } }, 20_000);
});

test('top_k 1 and top_p 0 are greedy, also among equals', () => {
  const random = seedRandom(3, 3);
  for (let round = 0; round < 300; round++) {
    // Few different values, so that most rows have several largest.
    const length = 1 + Math.floor(random() * 300);
    const logits = Float32Array.from({ length }, () => Math.floor(random() * 12) / 4);
    const draw = (given: Partial<DistributionParams>) =>
      sampleToken(Float32Array.from(logits), logSumExp(logits), { ...NEUTRAL_SAMPLING, ...given }, new Map(), random);
    const greedy = logits.indexOf(Math.max(...logits));
    for (const temperature of [0.3, 1, 1.7]) {
      assert.equal(draw({ temperature: 0 }), greedy);
      assert.equal(draw({ temperature, topK: 1 }), greedy);
      assert.equal(draw({ temperature, topP: 0 }), greedy);
    }
  }
});
