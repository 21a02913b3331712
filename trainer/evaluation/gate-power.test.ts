import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mulberry32 } from '../../shared/random.ts';
import { estimateMean } from '../../shared/statistics/confidence-interval.ts';
import { estimatePassProbability, findEffect, findNeededPrompts } from './gate-power.ts';

test('the needed number of prompts gives a pass four times in five', () => {
  for (const effect of [0.1, 0.25, 0.5]) {
    const prompts = findNeededPrompts(effect)!;
    assert.ok(Math.abs(estimatePassProbability(prompts, effect) - 0.8) < 0.02, `${effect}: ${prompts}`);
  }
  assert.equal(findNeededPrompts(0), null);
  assert.equal(findNeededPrompts(-0.3), null);
});

test('a policy that is no better passes one time in forty, whatever the number of prompts', () => {
  for (const prompts of [6, 60, 600]) assert.ok(Math.abs(estimatePassProbability(prompts, 0) - 0.025) < 1e-3);
});

test('the effect of an estimate is its mean over the standard deviation of a prompt', () => {
  const random = mulberry32(1);
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const values = Array.from({ length: 400 }, () => 0.4 + normal());
  const effect = findEffect(estimateMean(values, [...values.keys()]), values.length)!;
  // The standard error of the mean is 0.05.
  assert.ok(Math.abs(effect - 0.4) < 0.15, `${effect}`);
  assert.equal(findEffect({ value: 1, interval: null }, 5), null);
  assert.equal(findEffect({ value: 1, interval: { low: 1, high: 1 } }, 50), null);
});
