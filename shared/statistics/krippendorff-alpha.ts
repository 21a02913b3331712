// Krippendorff's α: agreement of any number of raters beyond chance, of whom each may have rated some of the items only
// (K. Krippendorff, Content Analysis, 2004, chapter 11). 1: they agree on everything; 0: as much as by chance.

import type { Statistic } from './confidence-interval.ts';

export type AlphaLevel = 'nominal' | 'ordinal';

/**
 * α as a statistic of the items: `counts[item]` is how many raters gave each category, in order. An item that fewer than two
 * rated says nothing. NaN if the values are all the same, or there are none: then nothing tells agreement from chance.
 */
export function krippendorffAlpha(counts: readonly (readonly number[])[], level: AlphaLevel): Statistic {
  const { patterns, patternOfItem } = groupByPattern(counts);
  const { pattern, one, other, value } = toColumns(patterns.map(listCoincidences));
  const categories = Math.max(0, ...counts.map((item) => item.length));
  const weightOfPattern = new Float64Array(patterns.length);
  const observed = new Float64Array(categories * categories);
  const totals = new Float64Array(categories);

  return (weights) => {
    weightOfPattern.fill(0);
    for (let item = 0; item < weights.length; item++) weightOfPattern[patternOfItem[item]!]! += weights[item]!;
    observed.fill(0);
    totals.fill(0);
    for (let at = 0; at < value.length; at++) {
      const weighted = weightOfPattern[pattern[at]!]! * value[at]!;
      observed[one[at]! * categories + other[at]!]! += weighted;
      totals[one[at]!]! += weighted;
    }
    return toAlpha(observed, totals, level);
  };
}

/** Few items differ in how often each category was given, so a resample counts patterns and not items. */
function groupByPattern(counts: readonly (readonly number[])[]) {
  const indices = new Map<string, number>();
  const patterns: (readonly number[])[] = [];
  const patternOfItem = counts.map((item) => {
    const key = item.join();
    const known = indices.get(key);
    if (known !== undefined) return known;
    indices.set(key, patterns.length);
    return patterns.push(item) - 1;
  });
  return { patterns, patternOfItem: Int32Array.from(patternOfItem) };
}

type Coincidence = { one: number; other: number; value: number };

/** Of all ordered pairs of values of one item, each value counting once in all. */
function listCoincidences(counts: readonly number[]): Coincidence[] {
  const raters = counts.reduce((sum, count) => sum + count, 0);
  if (raters < 2) return [];
  return counts.flatMap((count, one) =>
    counts
      .map((others, other) => ({ one, other, value: (count * (others - Number(one === other))) / (raters - 1) }))
      .filter(({ value }) => value > 0),
  );
}

function toColumns(ofPatterns: readonly (readonly Coincidence[])[]) {
  const rows = ofPatterns.flatMap((entries, pattern) => entries.map((entry) => ({ ...entry, pattern })));
  return {
    pattern: Int32Array.from(rows, (row) => row.pattern),
    one: Int32Array.from(rows, (row) => row.one),
    other: Int32Array.from(rows, (row) => row.other),
    value: Float64Array.from(rows, (row) => row.value),
  };
}

function toAlpha(observed: Float64Array, totals: Float64Array, level: AlphaLevel): number {
  const all = totals.reduce((sum, total) => sum + total, 0);
  const categories = totals.length;
  let disagreement = 0;
  let expected = 0;
  for (let one = 0; one < categories; one++) {
    // The values between the two, and half of their own.
    let between = totals[one]! / 2;
    for (let other = one + 1; other < categories; other++) {
      between += totals[other]! / 2;
      const distance = level === 'nominal' ? 1 : between ** 2;
      between += totals[other]! / 2;
      disagreement += distance * observed[one * categories + other]!;
      expected += distance * totals[one]! * totals[other]!;
    }
  }
  return expected === 0 ? Number.NaN : 1 - ((all - 1) * disagreement) / expected;
}
