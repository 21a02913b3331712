import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Throughput } from './throughput.ts';

test('a steady rate is told as it is, and one that ended ten seconds ago is none', () => {
  const rate = new Throughput();
  for (let now = 0; now < 60; now += 0.1) rate.add(now, 5);
  assert.ok(Math.abs(rate.perSecond(60) - 50) < 6, String(rate.perSecond(60)));
  assert.ok(Math.abs(rate.perSecond(59.99) - 50) < 1, String(rate.perSecond(59.99)));
  assert.ok(rate.perSecond(64.99) < 30);
  assert.equal(rate.perSecond(70), 0);
});

test('nothing counted is a rate of 0', () => {
  assert.equal(new Throughput().perSecond(12.5), 0);
});
