import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Evaluation } from './evaluation.ts';
import { boundMargins, measurePreferenceGain } from './preference-gain.ts';

/** Log-probabilities of the chosen and rejected responses, one pair a prompt. */
function evaluation(logps: [chosen: number, rejected: number][]): Evaluation {
  return {
    metrics: {},
    intervals: {},
    logps: { chosen: [], rejected: [] },
    outcomes: logps.map(([chosenLogp, rejectedLogp]) => ({
      loss: 0,
      chosenLogRatio: 0,
      rejectedLogRatio: 0,
      chosenLogp,
      rejectedLogp,
    })),
    prompts: logps.map((_, i) => String(i)),
  };
}

const parent = evaluation([
  [-10, -5],
  [-10, -30],
  [-7, -7],
  [-1, -2],
  [-3, -4],
  [-8, -8],
]);

test('the margin is what the chosen response gained since the parent less what the rejected one gained', () => {
  const candidate = evaluation([
    [-9, -6],
    [-10, -31],
    [-8, -7],
    [-1, -2],
    [-2, -2],
    [-7, -9],
  ]);
  // 2, 1, −1, 0, −1, 2
  const { margin, accuracy, bounded } = measurePreferenceGain(parent, candidate);
  assert.ok(Math.abs(margin.value - 3 / 6) < 1e-12);
  assert.equal(accuracy.value, 3.5 / 6);
  const expected = [2, 1, -1, 0, -1, 2].map(Math.tanh).reduce((sum, value) => sum + value, 0) / 6;
  assert.ok(Math.abs(bounded.value - expected) < 1e-12);
});

test('bounded margins do not depend on the unit, and one extreme margin is at most 1', () => {
  const margins = [0.5, -0.2, 0.1, 1e9, 0.3];
  const bounded = boundMargins(margins);
  for (const [i, value] of boundMargins(margins.map((margin) => 100 * margin)).entries())
    assert.ok(Math.abs(value - bounded[i]!) < 1e-12);
  assert.ok(bounded.every((value) => Math.abs(value) <= 1));
  assert.deepEqual(boundMargins([0, 0, 0]), [0, 0, 0]);
  assert.deepEqual(boundMargins([0, 0, 0, 0, 2]), [0, 0, 0, 0, Math.tanh(1)]);
});
