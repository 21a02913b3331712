import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { seedRandom } from '../decoder/random.ts';
import { compareMeans, type Moments, summarize, summarizeShare } from './confidence-sequence.ts';

const RUNS = 1000;
const MINUTES = 200;
/** Observations before the first look, as a guard requires. */
const MIN_COUNT = 50;
const ALPHA = 0.05;

/** Draws observations; a stream has sums, and summarizes them. */
type Stream = { add(count: number): void; read(): Moments };

function openStream(draw: () => number, isShare: boolean): Stream {
  let [count, sum, squares] = [0, 0, 0];
  return {
    add(more) {
      for (let i = 0; i < more; i++) {
        const value = draw();
        sum += value;
        squares += value * value;
      }
      count += more;
    },
    read: () => (isShare ? summarizeShare(count, sum) : summarize(count, sum, squares)),
  };
}

type Draw = (uniform: () => number) => number;
const shareOf =
  (rate: number): Draw =>
  (uniform) =>
    uniform() < rate ? 1 : 0;
/** Of an exponential distribution. What is more skewed than that, guards measure by its logarithm. */
const skewed: Draw = (uniform) => -Math.log(1 - uniform());

/** How many runs have ever an interval without the true difference, 0. */
function countMisses(draw: Draw, isShare: boolean, [ofCandidate, ofBaseline]: [number, number], past = 0): number {
  let missed = 0;
  for (let run = 0; run < RUNS; run++) {
    const uniform = seedRandom(run, 0);
    const [candidate, baseline] = [openStream(() => draw(uniform), isShare), openStream(() => draw(uniform), isShare)];
    baseline.add(past);
    for (let minute = 0; minute < MINUTES; minute++) {
      candidate.add(ofCandidate);
      baseline.add(ofBaseline);
      if (candidate.read().count < MIN_COUNT) continue;
      const { low, high } = compareMeans(candidate.read(), baseline.read(), ALPHA);
      if (low <= 0 && 0 <= high) continue;
      missed++;
      break;
    }
  }
  return missed;
}

describe(`of ${RUNS} runs of ${MINUTES} looks under 5% ever have an interval without the true difference`, () => {
  for (const [name, draw, isShare, perMinute, past] of [
    ['of halves', shareOf(0.5), true, [5, 45], 0],
    ['of rare events', shareOf(0.01), true, [5, 45], 0],
    ['of a skewed distribution', skewed, false, [5, 45], 0],
    ['of equal shares', shareOf(0.2), true, [10, 10], 0],
    ['where the baseline is from the past', shareOf(0.2), true, [10, 0], 1000],
  ] as const)
    test(name, (context) => {
      const missed = countMisses(draw, isShare, [...perMinute], past);
      context.diagnostic(`${missed} of ${RUNS}`);
      assert.ok(missed < 0.05 * RUNS, `${missed} missed it`);
    });
});

test('a difference is found', () => {
  const { value, low, high } = compareMeans(summarizeShare(400, 120), summarizeShare(4000, 400), ALPHA);
  assert.ok(low > 0.1 && high < 0.3, `${low} to ${high}`);
  assert.ok(Math.abs(value - 0.2) < 1e-12);
});

test('a small sample in which something rare has not happened is not beyond doubt', () => {
  const { value, low, high } = compareMeans(summarize(50, 0, 0), summarize(5000, 250, 225), ALPHA);
  assert.equal(value, -0.05);
  assert.ok(low < 0 && high > 0, `${low} to ${high}`);
});

test('the interval becomes narrower with more observations', () => {
  const width = (count: number) => {
    const { low, high } = compareMeans(summarize(count, count, 2 * count), summarize(count, count, 2 * count), ALPHA);
    return high - low;
  };
  for (const [few, many] of [
    [50, 100],
    [100, 1000],
    [1000, 100_000],
  ] as const)
    assert.ok(width(many) < width(few));
});

test('sums give mean and variance, and rounding no negative one', () => {
  assert.deepEqual(summarize(4, 10, 30), { count: 4, mean: 2.5, variance: 5 / 3 });
  assert.equal(summarize(3, 0.3, 0.03 - 1e-12).variance, 0);
  assert.deepEqual(summarize(0, 0, 0), { count: 0, mean: 0, variance: 0 });
  assert.deepEqual(summarize(1, 7, 49), { count: 1, mean: 7, variance: 0 });
});
