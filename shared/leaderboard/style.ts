// What raters may like about a response besides its content: its length and its Markdown. With style control the strengths of
// policies are what is left when these are accounted for.

import { type SQL, sql } from 'drizzle-orm';
import { CholeskyDecomposition, Matrix } from 'ml-matrix';

export type StyleFeature = { name: string; count(text: SQL): SQL };

const countLines = (pattern: string) => (text: SQL) => sql`regexp_count(${text}, ${pattern}, 1, 'n')`;

/** How much of each a text has. */
export const STYLE_FEATURES: readonly StyleFeature[] = [
  { name: 'length', count: (text) => sql`length(${text})` },
  { name: 'headers', count: countLines('^#{1,6}\\s') },
  { name: 'lists', count: countLines('^[ \\t]*([-*+]|\\d+[.)])\\s') },
  { name: 'bold', count: countLines('\\*\\*[^*]+\\*\\*') },
];

/** By how much side a has more than side b, from −1 (only b has it) to 1, for each feature. */
export function compareStyles([a, b]: readonly [readonly number[], readonly number[]]): number[] {
  return a.map((ofA, at) => (ofA === b[at]! ? 0 : (ofA - b[at]!) / (ofA + b[at]!)));
}

/** Of the rest of a feature, when the others have explained what they can: less is a copy of them but for rounding. */
const MIN_REST = 1e-8;

/**
 * Each feature in units of its root mean square. `kept` are indices of STYLE_FEATURES: without those that never differ, or
 * differ as the ones before do, whose effects no votes can tell apart.
 */
export function scaleStyles(differences: readonly (readonly number[])[]): { kept: number[]; features: Float64Array } {
  const products = STYLE_FEATURES.map((_, one) =>
    STYLE_FEATURES.map((_, other) => differences.reduce((sum, row) => sum + row[one]! * row[other]!, 0)),
  );
  const toScale = (at: number) => Math.sqrt(products[at]![at]!);
  const isTellable = (chosen: readonly number[]) =>
    new CholeskyDecomposition(
      new Matrix(
        chosen.map((one) =>
          chosen.map(
            (other) => products[one]![other]! / (toScale(one) * toScale(other)) - (one === other ? MIN_REST : 0),
          ),
        ),
      ),
    ).isPositiveDefinite();
  const kept: number[] = [];
  for (const at of STYLE_FEATURES.keys()) if (toScale(at) > 0 && isTellable([...kept, at])) kept.push(at);
  const scales = kept.map((at) => toScale(at) / Math.sqrt(differences.length));
  return {
    kept,
    features: Float64Array.from(differences.flatMap((row) => kept.map((feature, at) => row[feature]! / scales[at]!))),
  };
}
