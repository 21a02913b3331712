import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { seedRandom } from '../decoder/random.ts';
import { estimateWinRate, measureEvidence, THRESHOLD } from './e-process.ts';

/** log10 of E+ = Σ C(n+1, k) / ((n+1) C(n, w)) over k ≤ w, in whole numbers. */
function measureExactly(wins: number, losses: number): number {
  const n = BigInt(wins + losses);
  let [upper, sum, lower] = [1n, 1n, 1n];
  for (let k = 1n; k <= BigInt(wins); k++) {
    upper = (upper * (n + 2n - k)) / k;
    lower = (lower * (n + 1n - k)) / k;
    sum += upper;
  }
  return logOf(sum) - logOf((n + 1n) * lower);
}

function logOf(value: bigint): number {
  const digits = value.toString();
  return digits.length - 1 + Math.log10(Number(`${digits[0]}.${digits.slice(1, 18)}`));
}

/** The same sum as ratios to its last term, for counts that are too large for whole numbers. */
function measureBySeries(wins: number, losses: number): number {
  let [term, sum, scale] = [1, 1, 0];
  for (let j = 1; j <= wins; j++) {
    term *= (wins - j + 1) / (losses + 1 + j);
    sum += term;
    if (sum < 1e200) continue;
    sum /= 1e200;
    term /= 1e200;
    scale += 200;
  }
  return scale + Math.log10(sum) - Math.log10(losses + 1);
}

describe('the evidence', () => {
  for (const [wins, losses, expected] of [
    [0, 0, 1],
    [1, 0, 3 / 2],
    [0, 1, 1 / 2],
    [1, 1, 2 / 3],
    [2, 0, 7 / 3],
    [3, 1, 13 / 10],
  ] as const)
    test(`of ${wins} wins and ${losses} losses is ${expected.toPrecision(3)}`, () => {
      assert.ok(Math.abs(10 ** measureEvidence(wins, losses) - expected) < 1e-9);
    });

  for (const [wins, losses] of [
    [5, 3],
    [25, 12],
    [12, 25],
    [100, 63],
    [700, 800],
    [800, 700],
    [1500, 0],
    [0, 1500],
    [1000, 2000],
  ] as const)
    test(`of ${wins} wins and ${losses} losses is the exact binomial sum`, () => {
      assert.ok(Math.abs(measureEvidence(wins, losses) - measureExactly(wins, losses)) < 1e-7);
    });

  for (const [wins, losses] of [
    [50_000, 50_000],
    [50_300, 49_700],
    [49_700, 50_300],
    [30_000, 70_000],
    [70_000, 30_000],
    [100_000, 0],
    [0, 100_000],
    [1, 99_999],
    [99_999, 1],
  ] as const)
    test(`of ${wins} wins and ${losses} losses is that of the series, and finite`, () => {
      assert.ok(Math.abs(measureEvidence(wins, losses) - measureBySeries(wins, losses)) < 1e-5);
    });

  test('of both sides together is that of the uniform mixture over all rates', () => {
    for (const [wins, losses] of [
      [3, 9],
      [40, 41],
    ] as const) {
      const sum = 10 ** measureEvidence(wins, losses) + 10 ** measureEvidence(losses, wins);
      let mixture = 2 ** (wins + losses + 1) / (wins + losses + 1);
      for (let k = 1; k <= wins; k++) mixture *= k / (losses + k);
      assert.ok(Math.abs(sum / mixture - 1) < 1e-9);
    }
  });
});

const RUNS = 1000;
const LOOKS = 1500;

type Outcome = { decision: 'promoted' | 'rolled_back' | null; votes: number };

function simulate(winRate: number, seed: number): Outcome {
  const uniform = seedRandom(seed, 0);
  let wins = 0;
  for (let votes = 1; votes <= LOOKS; votes++) {
    if (uniform() < winRate) wins++;
    if (measureEvidence(wins, votes - wins) >= THRESHOLD) return { decision: 'promoted', votes };
    if (measureEvidence(votes - wins, wins) >= THRESHOLD) return { decision: 'rolled_back', votes };
  }
  return { decision: null, votes: LOOKS };
}

const simulateRuns = (winRate: number) => Array.from({ length: RUNS }, (_, run) => simulate(winRate, run));

function count(outcomes: Outcome[], decision: Outcome['decision']): number {
  return outcomes.filter((outcome) => outcome.decision === decision).length;
}

describe(`in ${RUNS} runs of ${LOOKS} looks, one after each vote`, () => {
  test('at a win rate of 0.5 under 5% promote and under 5% roll back', (context) => {
    const outcomes = simulateRuns(0.5);
    const [promoted, rolledBack] = [count(outcomes, 'promoted'), count(outcomes, 'rolled_back')];
    context.diagnostic(`${promoted} promoted, ${rolledBack} rolled back, of ${RUNS}`);
    assert.ok(promoted < 0.05 * RUNS, `${promoted} promoted`);
    assert.ok(rolledBack < 0.05 * RUNS, `${rolledBack} rolled back`);
  });

  for (const [winRate, expected, tolerance] of [
    [0.7, 37, 4],
    [0.6, 163, 15],
  ] as const)
    test(`at ${winRate} the median stops near ${expected} votes, and hardly any roll back`, (context) => {
      const outcomes = simulateRuns(winRate);
      const sorted = outcomes.map(({ votes }) => votes).sort((a, b) => a - b);
      const median = (sorted[RUNS / 2 - 1]! + sorted[RUNS / 2]!) / 2;
      const rolledBack = count(outcomes, 'rolled_back');
      context.diagnostic(`median ${median}, ${rolledBack} rolled back, of ${RUNS}`);
      assert.ok(Math.abs(median - expected) <= tolerance, `the median is ${median}`);
      assert.ok(rolledBack < 0.02 * RUNS, `${rolledBack} rolled back`);
    });
});

describe('the confidence sequence of the win rate', () => {
  test('misses the true rate at any of 400 looks in under 5% of 500 runs', (context) => {
    let missed = 0;
    for (let run = 0; run < 500; run++) {
      const uniform = seedRandom(run, 1);
      let wins = 0;
      for (let votes = 1; votes <= 400; votes++) {
        if (uniform() < 0.6) wins++;
        const { low, high } = estimateWinRate(wins, votes - wins);
        if (low <= 0.6 && 0.6 <= high) continue;
        missed++;
        break;
      }
    }
    context.diagnostic(`${missed} of 500`);
    assert.ok(missed < 25, `${missed} missed it`);
  });

  test('is everything before the first vote, and narrows around the rate', () => {
    assert.deepEqual(estimateWinRate(0, 0), { low: 0, high: 1 });
    const { low, high } = estimateWinRate(600, 400);
    assert.ok(low > 0.54 && low < 0.56 && high > 0.64 && high < 0.66, `${low} to ${high}`);
  });

  test('ends where the mixture speaks against a rate by twenty to one', () => {
    const { low, high } = estimateWinRate(30, 12);
    let beta = 1 / 43;
    for (let k = 1; k <= 30; k++) beta *= k / (12 + k);
    for (const p of [low, high]) assert.ok(Math.abs(beta / (p ** 30 * (1 - p) ** 12) - 20) < 1e-3);
  });

  test('of unanimous votes reaches the end', () => {
    assert.equal(estimateWinRate(10, 0).high, 1);
    assert.equal(estimateWinRate(0, 10).low, 0);
    assert.ok(estimateWinRate(10, 0).low > 0.5);
  });
});
