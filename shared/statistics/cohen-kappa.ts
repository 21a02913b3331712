// Cohen's κ: how much two series of choices agree beyond chance (J. Cohen, 1960); here a rater's and the known answers.

import type { Statistic } from './confidence-interval.ts';

/** κ as a statistic of the items. NaN if both series have one and the same choice, or there are no items. */
export function cohenKappa(given: readonly string[], expected: readonly string[]): Statistic {
  const categories = [...new Set([...given, ...expected])];
  const toIndices = (choices: readonly string[]) => Int32Array.from(choices, (choice) => categories.indexOf(choice));
  const [rows, columns] = [toIndices(given), toIndices(expected)];
  const ofRow = new Float64Array(categories.length);
  const ofColumn = new Float64Array(categories.length);

  return (weights) => {
    ofRow.fill(0);
    ofColumn.fill(0);
    let total = 0;
    let agreed = 0;
    for (let item = 0; item < weights.length; item++) {
      const weight = weights[item]!;
      const row = rows[item]!;
      const column = columns[item]!;
      ofRow[row]! += weight;
      ofColumn[column]! += weight;
      total += weight;
      if (row === column) agreed += weight;
    }
    const byChance = ofRow.reduce((sum, count, category) => sum + count * ofColumn[category]!, 0) / total;
    return byChance === total ? Number.NaN : (agreed - byChance) / (total - byChance);
  };
}
