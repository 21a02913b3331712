import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs-core';
import { showEquivalences } from './equivalences.ts';
import { type Both, CHOSEN, closedForms } from './world.ts';

before(async () => {
  tf.env().set('IS_TEST', true);
  await tf.setBackend('cpu');
});

function assertNear({ found, expected }: Both, tolerance: number, what: string): void {
  assert.ok(Math.abs(found - expected) <= tolerance, `${what}: ${found} is not ${expected}`);
}

describe('in the world of three answers', () => {
  test('every objective has the value, the slopes and the minimum of its closed form', () => {
    const forms = closedForms();
    assert.deepEqual(
      forms.map(({ name }) => name),
      ['lsif', 'ukl', 'bce', 'dpo, β 1', 'dpo, β 0.5', 'dpo, β 0.1', 'sft'],
    );
    for (const { name, value, slopes, minimum, ratios } of forms) {
      assertNear(value, 1e-6, `${name} at the reference`);
      for (const slope of slopes) assertNear(slope, 1e-6, `${name}'s slope`);
      assertNear(minimum, 2e-6, `${name}'s minimum`);
      for (const ratio of ratios) assertNear(ratio, 2e-3, `${name}'s ratio`);
    }
  });

  test('the minima are those of the design: LSIF −0.600417, UKL 0.903429, BCE 1.338386', () => {
    const minima = closedForms().slice(0, 3);
    for (const [i, expected] of [-0.600417, 0.903429, 1.338386].entries())
      assertNear({ found: minima[i]!.minimum.found, expected }, 2e-6, minima[i]!.name);
  });

  test('all but dpo at a β below 1 find the chosen distribution', () => {
    for (const { name, findsChosen, policy } of closedForms())
      assert.equal(findsChosen, !['dpo, β 0.5', 'dpo, β 0.1'].includes(name), `${name}: ${policy} for ${CHOSEN}`);
  });
});

for (const { equations, claim, checks } of await prepared(showEquivalences)) {
  for (const { what, difference } of checks) {
    test(`equations ${equations}: ${claim} (${what})`, () => {
      // Descents end within single precision of one another; a wrong factor anywhere is off by a hundredth and more.
      assert.ok(difference < 5e-5, `the two sides differ by ${difference}`);
    });
  }
}

/** Tests are named by what they check, so this must be there before they are declared. */
async function prepared<T>(work: () => T): Promise<T> {
  tf.env().set('IS_TEST', true);
  await tf.setBackend('cpu');
  return work();
}
