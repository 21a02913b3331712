// Asymptotic confidence sequences of a difference of means (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform
// central limit theory and asymptotic confidence sequences", Annals of Statistics 2024): intervals that hold at all times
// together, from counts, sums and sums of squares alone.

/** What is known of one stream of observations. */
export type Moments = { count: number; mean: number; variance: number };

export type Difference = { value: number; low: number; high: number };

/** Observations of each of two equal streams at which the interval is narrowest. */
const TIGHTEST_AT = 200;

export function summarize(count: number, sum: number, squares: number): Moments {
  if (count < 2) return { count, mean: count === 0 ? 0 : sum, variance: 0 };
  const mean = sum / count;
  return { count, mean, variance: Math.max(0, (squares - sum * mean) / (count - 1)) };
}

/**
 * Of observations that are 0 or 1. The variance is that of one more of each: it is not 0 before the first hit, of which a
 * small sample may have none by chance (Agresti and Caffo 2000).
 */
export function summarizeShare(count: number, hits: number): Moments {
  const smoothed = (hits + 1) / (count + 2);
  return { count, mean: count === 0 ? 0 : hits / count, variance: smoothed * (1 - smoothed) };
}

/**
 * Candidate minus baseline. The estimate is a Brownian motion with drift in the time 1 / variance, whichever of both streams
 * grows, so that Robbins' mixture bounds it: ± sqrt(v (tρ² + 1) / (tρ²) log((tρ² + 1) / α²)) with t in observations. Both have
 * the larger variance of the two: a small sample of what happens rarely may have none by chance.
 */
export function compareMeans(candidate: Moments, baseline: Moments, alpha: number): Difference {
  const value = candidate.mean - baseline.mean;
  const time = 1 / (1 / candidate.count + 1 / baseline.count);
  const variance = Math.max(candidate.variance, baseline.variance) / time;
  const scaled = (time / (TIGHTEST_AT / 2)) * tune(alpha);
  const half = Math.sqrt(variance * ((scaled + 1) / scaled) * Math.log((scaled + 1) / alpha ** 2));
  return { value, low: value - half, high: value + half };
}

/** ρ² of the sequence that is narrowest at time 1. */
function tune(alpha: number): number {
  const log = -2 * Math.log(alpha);
  return log + Math.log(log + 1);
}
