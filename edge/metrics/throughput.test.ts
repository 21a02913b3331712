import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Throughput } from './throughput.ts';

test('reports a steady rate, and 0 ten seconds after it ended', () => {
  const rate = new Throughput();
  for (let now = 0; now < 60; now += 0.1) rate.add(now, 5);
  assert.ok(Math.abs(rate.perSecond(60) - 50) < 6, String(rate.perSecond(60)));
  assert.ok(Math.abs(rate.perSecond(59.99) - 50) < 1, String(rate.perSecond(59.99)));
  assert.ok(rate.perSecond(64.99) < 30);
  assert.equal(rate.perSecond(70), 0);
});

test('is 0 without events', () => {
  assert.equal(new Throughput().perSecond(12.5), 0);
});
