import assert from 'node:assert/strict';
import { test } from 'node:test';
import { placeCounts, placeTimes } from './ticks.ts';

test('labels of counts are round numbers, few enough to be read', () => {
  assert.deepEqual(placeCounts(0, 6), [0, 1, 2, 3, 4, 5, 6]);
  assert.deepEqual(placeCounts(0, 19), [0, 5, 10, 15]);
  assert.deepEqual(placeCounts(0, 163), [0, 50, 100, 150]);
  assert.deepEqual(placeCounts(3, 1500), [500, 1000, 1500]);
  for (let high = 1; high < 3000; high++) assert.ok(placeCounts(0, high).length <= 7, String(high));
});

test('labels of times are at whole minutes, hours or days of the place where one looks', () => {
  const at = (text: string) => Date.parse(`2026-11-30T${text}Z`);
  const show = (ticks: number[]) => ticks.map((tick) => new Date(tick).toISOString().slice(8, 16));
  assert.deepEqual(show(placeTimes(at('02:21'), at('03:20'), 0)), [
    '30T02:30', '30T02:40', '30T02:50', '30T03:00', '30T03:10', '30T03:20',
  ]); // biome-ignore format: times
  assert.deepEqual(show(placeTimes(at('02:00'), at('23:00'), 0)), ['30T06:00', '30T12:00', '30T18:00']);
  const offset = 5.5 * 3_600_000;
  for (const tick of placeTimes(at('00:00') - 20 * 86_400_000, at('00:00'), offset))
    assert.equal((tick + offset) % 86_400_000, 0);
});
