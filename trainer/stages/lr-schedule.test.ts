import assert from 'node:assert/strict';
import { test } from 'node:test';
import { learningRateAt, planEvaluations } from './lr-schedule.ts';

const config = { learning_rate: 1, lr_schedule: 'cosine', warm_up: 0.1 } as const;

test('the learning rate rises to its peak over a tenth of the steps and falls to nearly zero', () => {
  const rates = Array.from({ length: 100 }, (_, step) => learningRateAt(step, 100, config));
  assert.equal(rates[9], 1);
  assert.ok(rates.slice(0, 9).every((rate, at) => rate < rates[at + 1]!));
  assert.ok(rates.slice(10, 99).every((rate, at) => rate > rates[at + 11]!));
  assert.ok(rates[99]! < 0.001);
});

test('a round of one step has a learning rate', () => {
  assert.equal(learningRateAt(0, 1, config), 1);
});

test('a constant schedule stays at its peak after the warm-up, and starts there without one', () => {
  const constant = { ...config, lr_schedule: 'constant' } as const;
  assert.deepEqual(
    [4, 9, 50, 99].map((step) => learningRateAt(step, 100, constant)),
    [0.5, 1, 1, 1],
  );
  assert.equal(learningRateAt(0, 100, { ...constant, warm_up: 0 }), 1);
});

test('evaluations are spread evenly up to the last step, and their cost limits the number of pairs', () => {
  const plan = (train: number, heldOut: number, effort = 1, epochs = 1) =>
    planEvaluations(
      { train: Array(train).fill(0), heldOut: Array(heldOut).fill(0), config: { effort, epochs } },
      train / 8,
    );
  assert.deepEqual([...plan(800, 512).evaluationSteps], [25, 50, 75, 100]);
  assert.equal(plan(800, 512).pairs.length, 120);
  assert.equal(plan(800, 512, 2).pairs.length, 60);
  assert.equal(plan(80, 100).pairs.length, 16);
  assert.equal(plan(80, 5).pairs.length, 5);
  assert.equal(plan(80, 0).evaluationSteps.size, 0);
  assert.deepEqual([...plan(16, 9).evaluationSteps], [1, 2]);
});
