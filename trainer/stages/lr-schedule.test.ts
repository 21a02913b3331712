import assert from 'node:assert/strict';
import { test } from 'node:test';
import { learningRateAt, planLooks, shuffle } from './lr-schedule.ts';

const how = { learning_rate: 1, lr_schedule: 'cosine', warm_up: 0.1 } as const;

test('the learning rate rises to its peak over a tenth of the steps and falls to nearly nothing', () => {
  const rates = Array.from({ length: 100 }, (_, step) => learningRateAt(step, 100, how));
  assert.equal(rates[9], 1);
  assert.ok(rates.slice(0, 9).every((rate, at) => rate < rates[at + 1]!));
  assert.ok(rates.slice(10, 99).every((rate, at) => rate > rates[at + 11]!));
  assert.ok(rates[99]! < 0.001);
});

test('a round of one step has a learning rate', () => {
  assert.equal(learningRateAt(0, 1, how), 1);
});

test('a shuffle holds every index once, and the same seed gives the same order', () => {
  assert.deepEqual(shuffle(50, 7), shuffle(50, 7));
  assert.notDeepEqual(shuffle(50, 7), shuffle(50, 8));
  assert.deepEqual(
    shuffle(50, 7).sort((a, b) => a - b),
    Array.from({ length: 50 }, (_, at) => at),
  );
});

test('a constant schedule stays at its peak after the warm-up, and without one begins there', () => {
  const constant = { ...how, lr_schedule: 'constant' } as const;
  assert.deepEqual(
    [4, 9, 50, 99].map((step) => learningRateAt(step, 100, constant)),
    [0.5, 1, 1, 1],
  );
  assert.equal(learningRateAt(0, 100, { ...constant, warm_up: 0 }), 1);
});

test('looks are spread to the last step, and watch as few pairs as keep them cheap', () => {
  const plan = (train: number, heldOut: number, effort = 1, epochs = 1) =>
    planLooks({ train: Array(train).fill(0), heldOut: Array(heldOut).fill(0), how: { effort, epochs } }, train / 8);
  assert.deepEqual([...plan(800, 512).at], [25, 50, 75, 100]);
  assert.equal(plan(800, 512).pairs.length, 120);
  assert.equal(plan(800, 512, 2).pairs.length, 60);
  assert.equal(plan(80, 100).pairs.length, 16);
  assert.equal(plan(80, 5).pairs.length, 5);
  assert.equal(plan(80, 0).at.size, 0);
  assert.deepEqual([...plan(16, 9).at], [1, 2]);
});
