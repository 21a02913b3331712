import assert from 'node:assert/strict';
import { test } from 'node:test';
import { learningRateAt } from './lr-schedule.ts';

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
