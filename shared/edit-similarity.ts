// How alike two responses are: one less the Levenshtein distance over the length of the longer, in tokens.

/**
 * 1 − distance / length; 0 if that is below `floor`. Common ends are skipped, and only the band of the distance matrix is
 * computed in which a similarity of `floor` is possible (Ukkonen 1985), so that two long responses that differ cost little.
 */
export function editSimilarity(a: readonly number[], b: readonly number[], floor = 0): number {
  const length = Math.max(a.length, b.length);
  if (length === 0) return 1;
  // The term keeps (1 − 0.9) · 10 from being rounded down to 0.
  const limit = Math.floor((1 - floor) * length + 1e-9);
  if (Math.abs(a.length - b.length) > limit) return 0;
  const shortest = Math.min(a.length, b.length);
  let start = 0;
  while (start < shortest && a[start] === b[start]) start++;
  let end = 0;
  while (end < shortest - start && a.at(-1 - end) === b.at(-1 - end)) end++;
  const distance = bandedDistance(a.slice(start, a.length - end), b.slice(start, b.length - end), limit);
  return distance > limit ? 0 : 1 - distance / length;
}

/** The Levenshtein distance if it is at most `limit`, otherwise something larger. */
function bandedDistance(a: readonly number[], b: readonly number[], limit: number): number {
  const outside = limit + 1;
  let above = Float64Array.from({ length: b.length + 1 }, (_, j) => Math.min(j, outside));
  let row = new Float64Array(b.length + 1);
  for (let i = 1; i <= a.length; i++) {
    const from = Math.max(1, i - limit);
    const to = Math.min(b.length, i + limit);
    row[from - 1] = from === 1 ? Math.min(i, outside) : outside;
    for (let j = from; j <= to; j++) {
      const substitution = above[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      row[j] = Math.min(substitution, above[j]! + 1, row[j - 1]! + 1);
    }
    // The row below reads one more.
    if (to < b.length) row[to + 1] = outside;
    [above, row] = [row, above];
  }
  return above[b.length]!;
}
