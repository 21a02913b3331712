import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RoundStage } from '../../shared/database/round-types.ts';
import { TimeLeft } from './time-left.ts';

const PARTS = [
  { stage: 'scoring', work: 100 },
  { stage: 'training', work: 50 },
  { stage: 'training', work: 600 },
  { stage: 'evaluating', work: 50 },
  { stage: 'publishing', work: 30 },
] as const;

/** A round on a machine that computes ten units a second. */
function runRound(timeLeft: TimeLeft, counts: readonly number[]) {
  let seconds = 1000;
  const told: { stage: RoundStage; left: number | null; truly: number }[] = [];
  const endSeconds = 1000 + PARTS.reduce((sum, { work }) => sum + work, 0) / 10;
  for (const [at, { stage, work }] of PARTS.entries()) {
    const total = counts[at]!;
    told.push({
      stage,
      left: timeLeft.observe({ stage, done: 0, total: 0 }, seconds),
      truly: endSeconds - seconds,
    });
    for (let done = 1; done <= total; done++) {
      seconds += work / total / 10;
      told.push({ stage, left: timeLeft.observe({ stage, done, total }, seconds), truly: endSeconds - seconds });
    }
  }
  return told;
}

test('the time left is null until a rate is known, and then it is right, falls, and ends at 0', () => {
  const timeLeft = new TimeLeft();
  timeLeft.plan([...PARTS]);
  const told = runRound(timeLeft, [4, 5, 20, 5, 3]);
  assert.deepEqual(
    told.slice(0, 2).map(({ left }) => left),
    [null, null],
  );
  const known = told.slice(2);
  for (const { left, truly, stage } of known)
    assert.ok(Math.abs(left! - truly) <= truly * 0.1 + 3, `${stage}: ${left}, ${truly}`);
  for (const [at, { left }] of known.slice(1).entries()) assert.ok(left! <= known[at]!.left! + 1e-9, `${at}`);
  assert.ok(known.every(({ left }) => left! >= 0));
  assert.equal(told.at(-1)!.left, 0);
});

test('two counts of one stage with the same total are told apart, because the second begins anew', () => {
  const timeLeft = new TimeLeft();
  timeLeft.plan([...PARTS]);
  const told = runRound(timeLeft, [4, 20, 20, 5, 3]);
  assert.equal(told.at(-1)!.left, 0);
  const first = told.findIndex(({ stage }) => stage === 'evaluating');
  assert.ok(Math.abs(told[first]!.left! - 8) < 1);
});

test('a part that is slower than those before it is estimated by its own rate', () => {
  const timeLeft = new TimeLeft();
  timeLeft.plan([...PARTS]);
  timeLeft.observe({ stage: 'scoring', done: 1, total: 2 }, 0);
  assert.equal(timeLeft.observe({ stage: 'scoring', done: 2, total: 2 }, 5), 73);
  timeLeft.observe({ stage: 'training', done: 1, total: 2 }, 10);
  timeLeft.observe({ stage: 'training', done: 2, total: 2 }, 12.5);
  timeLeft.observe({ stage: 'training', done: 1, total: 60 }, 20);
  // A unit takes a second: the 580 units that are left do, too.
  const left = timeLeft.observe({ stage: 'training', done: 2, total: 60 }, 30)!;
  assert.ok(left > 580 && left < 640, `${left}`);
});

test('a round that stops training early has the less left, and one without a plan is not estimated', () => {
  const timeLeft = new TimeLeft();
  assert.equal(timeLeft.observe({ stage: 'training', done: 1, total: 2 }, 0), null);
  timeLeft.plan([...PARTS]);
  timeLeft.observe({ stage: 'training', done: 1, total: 5 }, 0);
  timeLeft.observe({ stage: 'training', done: 5, total: 5 }, 4);
  timeLeft.observe({ stage: 'training', done: 1, total: 20 }, 7);
  timeLeft.observe({ stage: 'training', done: 2, total: 20 }, 10);
  assert.equal(timeLeft.observe({ stage: 'evaluating', done: 0, total: 0 }, 10), 8);
});
