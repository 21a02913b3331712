// The few statistics that the report needs: a share with its interval, quantiles, a density.

export type Interval = { rate: number; low: number; high: number };

/** The 97.5% point of the normal distribution: two-sided 95%. */
const Z95 = 1.959963984540054;

/**
 * A share with its 95% Wilson score interval (E. B. Wilson, 1927). Ties may be given as halves of a success: their
 * variance is smaller than a coin's, so the interval is then a little wider than it need be.
 */
export function wilson(successes: number, trials: number): Interval {
  if (trials === 0) return { rate: Number.NaN, low: 0, high: 1 };
  const rate = successes / trials;
  const z2 = Z95 ** 2 / trials;
  const centre = (rate + z2 / 2) / (1 + z2);
  const half = (Z95 / (1 + z2)) * Math.sqrt((rate * (1 - rate)) / trials + z2 / (4 * trials));
  return { rate, low: Math.max(0, centre - half), high: Math.min(1, centre + half) };
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** The q-quantile, between neighbours by a straight line. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (sorted.length - 1) * q;
  const low = sorted[Math.floor(at)]!;
  const high = sorted[Math.ceil(at)]!;
  return low + (high - low) * (at - Math.floor(at));
}

/** What a box plot draws: 5%, quartiles, 95%. */
export function boxOf(values: readonly number[]): [number, number, number, number, number] {
  return [0.05, 0.25, 0.5, 0.75, 0.95].map((q) => quantile(values, q)) as [number, number, number, number, number];
}

/** A Gaussian kernel density at each of `points`, with Silverman's bandwidth. */
export function density(values: readonly number[], points: readonly number[]): number[] {
  const centre = mean(values);
  const deviation = Math.sqrt(mean(values.map((value) => (value - centre) ** 2)));
  const spread = Math.min(deviation, (quantile(values, 0.75) - quantile(values, 0.25)) / 1.349) || deviation || 0.1;
  const width = 0.9 * spread * values.length ** -0.2;
  return points.map(
    (point) =>
      mean(values.map((value) => Math.exp(-0.5 * ((point - value) / width) ** 2))) / (width * Math.sqrt(2 * Math.PI)),
  );
}

/** The share of two-word sequences that are new within their text, over all texts: falls when stories repeat themselves. */
export function distinctPairs(texts: readonly string[]): number {
  let all = 0;
  let different = 0;
  for (const text of texts) {
    const words = text.toLowerCase().match(/[a-z']+/g) ?? [];
    const pairs = words.slice(1).map((word, at) => `${words[at]} ${word}`);
    all += pairs.length;
    different += new Set(pairs).size;
  }
  return all === 0 ? Number.NaN : different / all;
}
