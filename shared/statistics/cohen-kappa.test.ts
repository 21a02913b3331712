import assert from 'node:assert/strict';
import { test } from 'node:test';
import recorded from '../../testing/statistics.json' with { type: 'json' };
import { cohenKappa } from './cohen-kappa.ts';

const evaluate = (given: readonly string[], expected: readonly string[]) =>
  cohenKappa(given, expected)(new Float64Array(given.length).fill(1));

test('κ equals that of scikit-learn', () => {
  for (const { given, expected, kappa } of recorded.kappas)
    assert.ok(Math.abs(evaluate(given, expected) - kappa) < 1e-12, `${kappa}`);
});

test('κ is undefined where there is one choice only, and 0 for a rater who always gives the same', () => {
  assert.equal(evaluate(['a', 'a'], ['a', 'a']), Number.NaN);
  assert.equal(evaluate([], []), Number.NaN);
  assert.equal(evaluate(['a', 'a', 'a', 'a'], ['a', 'b', 'a', 'b']), 0);
});
