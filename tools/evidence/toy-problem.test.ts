import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs-core';
import { computeEquivalences } from './equivalences.ts';
import { CHOSEN_DISTRIBUTION, type Comparison, compareClosedForms } from './toy-problem.ts';

before(async () => {
  tf.env().set('IS_TEST', true);
  await tf.setBackend('cpu');
});

function assertNear({ actual, expected }: Comparison, tolerance: number, what: string): void {
  assert.ok(Math.abs(actual - expected) <= tolerance, `${what}: ${actual} is not ${expected}`);
}

describe('with three responses', () => {
  test('every objective matches the value, gradient and minimum of its closed form', () => {
    const forms = compareClosedForms();
    assert.deepEqual(
      forms.map(({ name }) => name),
      ['lsif', 'ukl', 'bce', 'dpo, β 1', 'dpo, β 0.5', 'dpo, β 0.1', 'sft'],
    );
    for (const { name, value, slopes, minimum, ratios } of forms) {
      assertNear(value, 1e-6, `${name} at the reference`);
      for (const slope of slopes) assertNear(slope, 1e-6, `${name}'s gradient`);
      assertNear(minimum, 2e-6, `${name}'s minimum`);
      for (const ratio of ratios) assertNear(ratio, 2e-3, `${name}'s ratio`);
    }
  });

  test('the minima are the documented ones: LSIF −0.600417, UKL 0.903429, BCE 1.338386', () => {
    const minima = compareClosedForms().slice(0, 3);
    for (const [i, expected] of [-0.600417, 0.903429, 1.338386].entries())
      assertNear({ actual: minima[i]!.minimum.actual, expected }, 2e-6, minima[i]!.name);
  });

  test('every objective except dpo with β < 1 recovers the chosen distribution', () => {
    for (const { name, findsChosen, policy } of compareClosedForms())
      assert.equal(
        findsChosen,
        !['dpo, β 0.5', 'dpo, β 0.1'].includes(name),
        `${name}: ${policy} for ${CHOSEN_DISTRIBUTION}`,
      );
  });
});

for (const { equations, claim, checks } of await runOnCpuBackend(computeEquivalences)) {
  for (const { what, difference } of checks) {
    test(`equations ${equations}: ${claim} (${what})`, () => {
      // Both minimizations agree to single precision; a wrong factor anywhere causes an error of at least 0.01.
      assert.ok(difference < 5e-5, `both sides differ by ${difference}`);
    });
  }
}

/** Test names come from the results, so these are computed before the tests are declared. */
async function runOnCpuBackend<T>(work: () => T): Promise<T> {
  tf.env().set('IS_TEST', true);
  await tf.setBackend('cpu');
  return work();
}
