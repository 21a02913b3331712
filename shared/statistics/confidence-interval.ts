// 95% confidence intervals by a cluster bootstrap: whole prompts are resampled, because responses to one prompt are
// alike. Two policies are compared pair by pair over the same resamples, so that the difficulty of a pair cancels.
// Fewer than six prompts give no interval: five agree by chance once in 32 times, more than 2.5%.

import type { Interval } from '../database/round-types.ts';
import { seedRandom } from '../decoder/random.ts';
import { normalCdf } from './normal-distribution.ts';

export const MIN_CLUSTERS = 6;
const RESAMPLES = 1000;
/** Of the resamples: more than so many without a value give no interval. */
const MAX_UNDEFINED_SHARE = 0.05;

/** The weight of each item in a resample → the value of the statistic; NaN: the resample has none. */
export type Statistic = (weights: Float64Array) => number;

/**
 * The interval of a statistic of items; null if there are fewer than MIN_CLUSTERS clusters. clusters[i] is the cluster of
 * item i. The same seed and clusters give the same resamples for every statistic.
 */
export function bootstrap(clusters: readonly (string | number)[], statistic: Statistic, seed = 0): Interval | null {
  const indices = new Map<string | number, number>();
  for (const cluster of clusters) if (!indices.has(cluster)) indices.set(cluster, indices.size);
  const clusterOfItem = Int32Array.from(clusters, (cluster) => indices.get(cluster)!);
  const count = indices.size;
  if (count < MIN_CLUSTERS) return null;
  const uniform = seedRandom(seed, 0);
  const drawn = new Float64Array(count);
  const weights = new Float64Array(clusters.length);
  const values = new Float64Array(RESAMPLES);
  for (let resample = 0; resample < RESAMPLES; resample++) {
    drawn.fill(0);
    for (let i = 0; i < count; i++) drawn[Math.floor(uniform() * count)]!++;
    for (let item = 0; item < weights.length; item++) weights[item] = drawn[clusterOfItem[item]!]!;
    values[resample] = statistic(weights);
  }
  const defined = values.filter((value) => !Number.isNaN(value)).sort();
  if (defined.length < (1 - MAX_UNDEFINED_SHARE) * RESAMPLES) return null;
  const tail = tailShare(count);
  return { low: quantile(defined, tail), high: quantile(defined, 1 - tail) };
}

/** Σ w·a / Σ w·b: a mean (b defaults to 1), or a ratio of totals over items of different sizes. 0 if Σ w·b is 0. */
export function weightedRatio(
  weights: Float64Array,
  numerators: readonly number[],
  denominators?: readonly number[],
): number {
  let numerator = 0;
  let denominator = 0;
  // Indices and no iterator: it runs a thousand times over all items.
  for (let i = 0; i < weights.length; i++) {
    numerator += weights[i]! * numerators[i]!;
    denominator += weights[i]! * (denominators?.[i] ?? 1);
  }
  return denominator === 0 ? 0 : numerator / denominator;
}

/** The mean of values and its interval. */
export function estimateMean(values: readonly number[], clusters: readonly (string | number)[], seed = 0): Estimate {
  return estimate(clusters, (weights) => weightedRatio(weights, values), seed);
}

export type Estimate = { value: number; interval: Interval | null };

export function estimate(clusters: readonly (string | number)[], statistic: Statistic, seed = 0): Estimate {
  return {
    value: statistic(new Float64Array(clusters.length).fill(1)),
    interval: bootstrap(clusters, statistic, seed),
  };
}

/**
 * The share of resamples below the interval. The bootstrap underestimates the spread by √((n − 1)/n) and lacks Student's
 * tails; percentiles further out correct both (Hesterberg 2015, expanded percentiles).
 */
function tailShare(count: number): number {
  return normalCdf(-Math.sqrt(count / (count - 1)) * studentQuantile(count - 1));
}

/** The 97.5% quantile of Student's t (Cornish-Fisher expansion), within 0.5% from five degrees of freedom. */
export function studentQuantile(degrees: number): number {
  const z = 1.959964;
  return (
    z +
    (z ** 3 + z) / (4 * degrees) +
    (5 * z ** 5 + 16 * z ** 3 + 3 * z) / (96 * degrees ** 2) +
    (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / (384 * degrees ** 3)
  );
}

function quantile(sorted: Float64Array, share: number): number {
  const at = share * (sorted.length - 1);
  const below = Math.floor(at);
  const above = Math.ceil(at);
  return sorted[below]! + (at - below) * (sorted[above]! - sorted[below]!);
}
