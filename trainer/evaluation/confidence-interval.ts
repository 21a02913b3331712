// How sure a number is that was measured on few pairs: 95% intervals by resampling whole prompts, because what answers
// one prompt is alike. Two policies are compared item by item, over the same resamples: what is hard for both cancels.
// No interval comes from fewer than six prompts: chance alone makes five agree once in 32 times, more than 2.5%.
import type { Interval } from '../../shared/database/round-types.ts';
import { seedRandom } from '../../shared/decoder/random.ts';

export const FEWEST_CLUSTERS = 6;
const RESAMPLES = 1000;

/** How often each item counts in a resample → the number that is asked about. */
type Statistic = (weights: Float64Array) => number;

/**
 * The interval of a statistic of items, or null where there are too few clusters to say. clusters[i] is what item i
 * belongs to; the same seed and clusters give the same resamples, whatever the statistic is.
 */
export function bootstrap(clusters: readonly (string | number)[], statistic: Statistic, seed = 0): Interval | null {
  const numbers = new Map<string | number, number>();
  for (const cluster of clusters) if (!numbers.has(cluster)) numbers.set(cluster, numbers.size);
  const members = clusters.map((cluster) => numbers.get(cluster)!);
  const count = numbers.size;
  if (count < FEWEST_CLUSTERS) return null;
  const uniform = seedRandom(seed, 0);
  const drawn = new Float64Array(count);
  const weights = new Float64Array(clusters.length);
  const values = new Float64Array(RESAMPLES);
  for (let resample = 0; resample < RESAMPLES; resample++) {
    drawn.fill(0);
    for (let i = 0; i < count; i++) drawn[Math.floor(uniform() * count)]!++;
    for (const [item, cluster] of members.entries()) weights[item] = drawn[cluster]!;
    values[resample] = statistic(weights);
  }
  values.sort();
  const tail = tailFor(count);
  return { low: quantile(values, tail), high: quantile(values, 1 - tail) };
}

/** Σ w·a / Σ w·b, with b = 1 unless given: a mean, or a share of items that are not of one size. 0 where there is none. */
export function ratio(weights: Float64Array, above: readonly number[], below?: readonly number[]): number {
  let top = 0;
  let bottom = 0;
  for (const [i, weight] of weights.entries()) {
    top += weight * above[i]!;
    bottom += weight * (below?.[i] ?? 1);
  }
  return bottom === 0 ? 0 : top / bottom;
}

/** The mean of values and its interval. */
export function estimateMean(values: readonly number[], clusters: readonly (string | number)[], seed = 0): Estimate {
  return estimate(clusters, (weights) => ratio(weights, values), seed);
}

export type Estimate = { value: number; interval: Interval | null };

export function estimate(clusters: readonly (string | number)[], statistic: Statistic, seed = 0): Estimate {
  return {
    value: statistic(new Float64Array(clusters.length).fill(1)),
    interval: bootstrap(clusters, statistic, seed),
  };
}

/**
 * The share of resamples below the interval. The bootstrap's spread is that of a sample taken for the population, too
 * small by √((n − 1)/n) and without Student's tails: reaching further out makes up for both (Hesterberg 2015, expanded
 * percentiles).
 */
function tailFor(count: number): number {
  const far = Math.sqrt(count / (count - 1)) * studentQuantile(count - 1);
  return normalBelow(-far);
}

/** t that Student's distribution exceeds with 2.5%, by Cornish and Fisher; within 0.5% from five degrees up. */
function studentQuantile(degrees: number): number {
  const z = 1.959964;
  return (
    z +
    (z ** 3 + z) / (4 * degrees) +
    (5 * z ** 5 + 16 * z ** 3 + 3 * z) / (96 * degrees ** 2) +
    (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / (384 * degrees ** 3)
  );
}

/** The normal distribution below x ≤ 0, within 1e-5 (Abramowitz and Stegun 26.2.16). */
function normalBelow(x: number): number {
  const t = 1 / (1 - 0.33267 * x);
  const density = Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);
  return density * t * (0.4361836 + t * (-0.1201676 + t * 0.937298));
}

function quantile(sorted: Float64Array, share: number): number {
  const at = share * (sorted.length - 1);
  const below = Math.floor(at);
  const above = Math.ceil(at);
  return sorted[below]! + (at - below) * (sorted[above]! - sorted[below]!);
}
