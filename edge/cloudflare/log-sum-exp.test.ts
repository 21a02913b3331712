import assert from 'node:assert/strict';
import { test } from 'node:test';
import { computeLogNormalizers } from './log-sum-exp.ts';

test('equal logits of a large vocabulary add up to log V, whatever their size', () => {
  for (const logit of [-300, 0, 300]) {
    const logits = new Float32Array(2 * 100_000).fill(logit);
    for (const normalizer of computeLogNormalizers(logits, 2))
      assert.equal(normalizer, Math.fround(logit + Math.log(100_000)));
  }
});

test('a NaN among the logits is not hidden', () => {
  const logits = Float32Array.of(1, 2, Number.NaN, 3);
  assert.deepEqual(computeLogNormalizers(logits, 2).map(Number.isFinite as never), Float32Array.of(1, 0));
});
