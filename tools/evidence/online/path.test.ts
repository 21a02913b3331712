import assert from 'node:assert/strict';
import { test } from 'node:test';
import { measureLead, winRateAtKl } from './path.ts';
import { makeRun } from './testing/run.ts';

test('the win rate at a KL lies on the straight line in √KL between two rounds, the first of which may be the root', () => {
  const run = makeRun({}, [
    [2, 0.6],
    [4, 0.8],
  ]);
  assert.ok(Math.abs(winRateAtKl(run, 0.5)! - 0.55) < 1e-12);
  assert.ok(Math.abs(winRateAtKl(run, ((Math.SQRT2 + 2) / 2) ** 2)! - 0.7) < 1e-12);
  assert.equal(winRateAtKl(run, 5), null);
});

test('a lead is averaged over the KLs that both runs pass, and changes its sign when the runs are swapped', () => {
  const run = makeRun({}, [[4, 0.9]]);
  const other = makeRun({}, [
    [1, 0.6],
    [0.5, 0.6],
  ]);
  // Up to KL 1 the run rises to 0.7 and the other to 0.6: half of the difference at the end, on average.
  assert.ok(Math.abs(measureLead(run, other) - 0.05) < 1e-9);
  assert.ok(Math.abs(measureLead(other, run) + 0.05) < 1e-9);
});
