import assert from 'node:assert/strict';
import { test } from 'node:test';
import recorded from '../../testing/statistics.json' with { type: 'json' };
import { estimate } from './confidence-interval.ts';
import { type AlphaLevel, krippendorffAlpha } from './krippendorff-alpha.ts';

/** A row for each rater → how many raters gave each value, for each item. */
function countValues(table: readonly (readonly (number | null)[])[]): number[][] {
  const levels = 1 + Math.max(...table.flat().map((value) => value ?? 0));
  return table[0]!.map((_, item) =>
    Array.from({ length: levels }, (_, level) => table.filter((row) => row[item] === level).length),
  );
}

const evaluate = (counts: readonly number[][], level: AlphaLevel) =>
  krippendorffAlpha(counts, level)(new Float64Array(counts.length).fill(1));

for (const [index, { table, nominal, ordinal }] of recorded.agreement.entries())
  test(`α of ${table.length} raters equals that of the package krippendorff (${index})`, () => {
    const counts = countValues(table);
    assert.ok(Math.abs(evaluate(counts, 'nominal') - nominal) < 1e-12);
    assert.ok(Math.abs(evaluate(counts, 'ordinal') - ordinal) < 1e-12);
  });

test('an item that is drawn twice counts as two items', () => {
  const counts = countValues(recorded.agreement[1]!.table);
  const twice = counts.flatMap((item, at) => (at % 3 === 0 ? [item, item] : at % 3 === 1 ? [item] : []));
  const weights = Float64Array.from(counts, (_, at) => 2 - (at % 3));
  for (const level of ['nominal', 'ordinal'] as const)
    assert.ok(Math.abs(krippendorffAlpha(counts, level)(weights) - evaluate(twice, level)) < 1e-12);
});

test('α is undefined where everyone says the same, or no item has two values', () => {
  assert.equal(
    evaluate(
      [
        [3, 0],
        [2, 0],
      ],
      'nominal',
    ),
    Number.NaN,
  );
  assert.equal(
    evaluate(
      [
        [1, 0],
        [0, 1],
      ],
      'ordinal',
    ),
    Number.NaN,
  );
  assert.equal(evaluate([], 'nominal'), Number.NaN);
});

test('its interval contains it, and is the same each time', () => {
  const counts = countValues(recorded.agreement[1]!.table);
  const run = () => estimate([...counts.keys()], krippendorffAlpha(counts, 'nominal'));
  const { value, interval } = run();
  assert.ok(interval!.low < value && value < interval!.high);
  assert.deepEqual(run(), { value, interval });
});
