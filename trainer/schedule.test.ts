import assert from 'node:assert/strict';
import { test } from 'node:test';
import { learningRateAt, shuffle } from './schedule.ts';

test('the learning rate rises to its peak over a tenth of the steps and falls to nearly nothing', () => {
  const rates = Array.from({ length: 100 }, (_, step) => learningRateAt(step, 100, 1));
  assert.equal(rates[9], 1);
  assert.ok(rates.slice(0, 9).every((rate, at) => rate < rates[at + 1]!));
  assert.ok(rates.slice(10, 99).every((rate, at) => rate > rates[at + 11]!));
  assert.ok(rates[99]! < 0.001);
});

test('a round of one step has a learning rate', () => {
  assert.equal(learningRateAt(0, 1, 0.5), 0.5);
});

test('a shuffle holds every index once, and the same seed gives the same order', () => {
  assert.deepEqual(shuffle(50, 7), shuffle(50, 7));
  assert.notDeepEqual(shuffle(50, 7), shuffle(50, 8));
  assert.deepEqual(
    shuffle(50, 7).sort((a, b) => a - b),
    Array.from({ length: 50 }, (_, at) => at),
  );
});
