// The median as a statistic of items, for its bootstrap.

import type { Statistic } from './confidence-interval.ts';

/** Between the two middle values: their mean. NaN without values. */
export function median(values: readonly number[]): Statistic {
  const order = [...values.keys()].sort((one, other) => values[one]! - values[other]!);
  return (weights) => {
    const half = weights.reduce((sum, weight) => sum + weight, 0) / 2;
    let below = 0;
    let lower: number | undefined;
    for (const item of order) {
      below += weights[item]!;
      if (lower !== undefined && weights[item]! > 0) return (lower + values[item]!) / 2;
      if (below > half) return values[item]!;
      if (below === half && weights[item]! > 0) lower = values[item]!;
    }
    return Number.NaN;
  };
}
