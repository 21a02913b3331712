// Statistics of the reports: proportions with intervals, quantiles, densities, repetition.

/** A proportion and its 95% confidence interval. */
export type Proportion = { rate: number; low: number; high: number };

/** The 97.5% point of the normal distribution: two-sided 95%. */
const Z95 = 1.959963984540054;

/**
 * A proportion with its 95% Wilson score interval (E. B. Wilson, 1927). Ties may be passed as half a success each: their
 * variance is smaller than a Bernoulli trial's, so the interval is then slightly conservative.
 */
export function wilsonInterval(successes: number, trials: number): Proportion {
  if (trials === 0) return { rate: Number.NaN, low: 0, high: 1 };
  const rate = successes / trials;
  const z2 = Z95 ** 2 / trials;
  const centre = (rate + z2 / 2) / (1 + z2);
  const half = (Z95 / (1 + z2)) * Math.sqrt((rate * (1 - rate)) / trials + z2 / (4 * trials));
  return { rate, low: Math.max(0, centre - half), high: Math.min(1, centre + half) };
}

export const formatPercent = (share: number, digits = 1) =>
  Number.isNaN(share) ? '–' : `${(100 * share).toFixed(digits)}%`;

export function sum(values: ArrayLike<number>): number {
  return Array.from(values).reduce((total, value) => total + value, 0);
}

export function mean(values: readonly number[]): number {
  return sum(values) / values.length;
}

/** The q-quantile with linear interpolation between order statistics. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (sorted.length - 1) * q;
  const low = sorted[Math.floor(at)]!;
  const high = sorted[Math.ceil(at)]!;
  return low + (high - low) * (at - Math.floor(at));
}

/** The five numbers of a box plot: 5%, quartiles, 95%. */
export function boxQuantiles(values: readonly number[]): [number, number, number, number, number] {
  return [0.05, 0.25, 0.5, 0.75, 0.95].map((q) => quantile(values, q)) as [number, number, number, number, number];
}

/** A Gaussian kernel density at each of `points`, with Silverman's bandwidth. */
export function density(values: readonly number[], points: readonly number[]): number[] {
  const centre = mean(values);
  const deviation = Math.sqrt(mean(values.map((value) => (value - centre) ** 2)));
  const spread = Math.min(deviation, (quantile(values, 0.75) - quantile(values, 0.25)) / 1.349) || deviation || 0.1;
  const bandwidth = 0.9 * spread * values.length ** -0.2;
  return points.map(
    (point) =>
      mean(values.map((value) => Math.exp(-0.5 * ((point - value) / bandwidth) ** 2))) /
      (bandwidth * Math.sqrt(2 * Math.PI)),
  );
}

/** Distinct-2 within each text, pooled over all texts: unique bigrams / bigrams. Falls when texts repeat themselves. */
export function distinctBigrams(texts: readonly string[]): number {
  let total = 0;
  let unique = 0;
  for (const text of texts) {
    const words = text.toLowerCase().match(/[a-z']+/g) ?? [];
    const bigrams = words.slice(1).map((word, at) => `${words[at]} ${word}`);
    total += bigrams.length;
    unique += new Set(bigrams).size;
  }
  return total === 0 ? Number.NaN : unique / total;
}
