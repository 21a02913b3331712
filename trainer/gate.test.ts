import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judge } from './gate.ts';

const evaluation = (loss: number) => ({ metrics: { loss }, logps: { chosen: [-1, -2], rejected: [-2, -3] } });

test('a policy with a lower held-out loss than its parent passes', () => {
  assert.equal(judge(evaluation(-0.5), evaluation(-0.6)).pass, true);
});

test('a policy that is worse than its parent, or the same, is refused with both losses in the reason', () => {
  const verdict = judge(evaluation(-0.5), evaluation(-0.4));
  assert.equal(verdict.pass, false);
  assert.match(verdict.reason, /from -0\.50000 to -0\.40000, over 2 pairs/);
  assert.equal(judge(evaluation(-0.5), evaluation(-0.5)).pass, false);
});

test('a policy that diverged is refused by the name of the metric', () => {
  assert.match(judge(evaluation(-0.5), evaluation(Number.NaN)).reason, /loss on held-out pairs is NaN/);
});
