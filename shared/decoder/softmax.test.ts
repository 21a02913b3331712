import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seedRandom } from './random.ts';
import { type ScaledLogits, sampleFromAll, scaleLogits, selectNucleus } from './softmax.ts';

const random = seedRandom(29, 0);
const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());

/** Rows from flat to peaked, some with logits that were changed after their log-sum-exp was computed. */
function* generateRows(count: number): Generator<ScaledLogits> {
  for (let i = 0; i < count; i++) {
    const spread = 1 + 3 * random();
    const logits = Float32Array.from({ length: 1 + Math.floor(2000 * random()) }, () => spread * normal());
    const logNormalizer = Math.fround(Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0)));
    const before = new Map<number, number>();
    for (let changes = Math.floor(6 * random()); changes > 0; changes--) {
      const token = Math.floor(logits.length * random());
      before.set(token, before.get(token) ?? logits[token]!);
      logits[token]! += 8 * normal();
    }
    const temperature = [0.3, 0.7, 0.95, 1, 1, 1.5][i % 6]!;
    yield scaleLogits(logits, Math.max(...logits), temperature, logNormalizer, before);
  }
}

/** The reference. */
const computeWeights = ({ logits, peak, temperature }: ScaledLogits) =>
  Float64Array.from(logits, (logit) => Math.exp((logit - peak) / temperature));
const sum = (weights: Float64Array) => weights.reduce((a, b) => a + b);

test('the nucleus has the same tokens as sorting and summing all weights', () => {
  for (const row of generateRows(1500)) {
    const share = random();
    const weights = computeWeights(row);
    const sorted = [...weights.keys()].sort((a, b) => row.logits[b]! - row.logits[a]! || a - b);
    let mass = 0;
    const size = sorted.findIndex((token) => {
      mass += weights[token]!;
      return mass >= share * sum(weights);
    });
    assert.deepEqual(selectNucleus(row, share).sort(ascending), sorted.slice(0, size + 1).sort(ascending));
  }
});

const ascending = (a: number, b: number) => a - b;

test('sampling inverts the cumulative weights, tokens near the peak first', () => {
  for (const row of generateRows(1500)) {
    const weights = computeWeights(row);
    const isNear = (token: number) => row.logits[token]! >= row.peak - 9 * row.temperature;
    const line = [...weights.keys()].sort((a, b) => Number(isNear(b)) - Number(isNear(a)) || a - b);
    for (const uniform of [random(), random(), 1 - 1e-3 * random()]) {
      let rest = uniform * sum(weights);
      const sampled = line.find((token) => {
        rest -= weights[token]!;
        return rest < 0;
      });
      assert.equal(sampleFromAll(row, uniform), sampled);
    }
  }
});
