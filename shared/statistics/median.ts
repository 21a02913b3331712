// The median as a statistic of items, for its bootstrap.

import type { Statistic } from './confidence-interval.ts';

/** Between the two middle values: their mean. NaN without values. */
export function median(values: readonly number[]): Statistic {
  const order = Int32Array.from(values.keys()).sort((one, other) => values[one]! - values[other]!);
  return (weights) => {
    let total = 0;
    for (let item = 0; item < weights.length; item++) total += weights[item]!;
    let below = 0;
    let lower: number | undefined;
    for (let at = 0; at < order.length; at++) {
      const weight = weights[order[at]!]!;
      if (weight === 0) continue;
      const value = values[order[at]!]!;
      if (lower !== undefined) return (lower + value) / 2;
      below += weight;
      if (below > total / 2) return value;
      if (below === total / 2) lower = value;
    }
    return Number.NaN;
  };
}
