import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { mapConcurrently } from './pool.ts';

test('results keep the order of the items, and never more than the limit are at work', async () => {
  let atWork = 0;
  let most = 0;
  const results = await mapConcurrently([5, 1, 3, 2, 4], 2, async (item) => {
    most = Math.max(most, ++atWork);
    await sleep(item);
    atWork--;
    return 10 * item;
  });
  assert.deepEqual(results, [50, 10, 30, 20, 40]);
  assert.equal(most, 2);
});

test('after a failure nothing new begins', async () => {
  const begun: number[] = [];
  const work = async (item: number) => {
    begun.push(item);
    await sleep(1);
    if (item === 1) throw new Error('one is bad');
  };
  await assert.rejects(mapConcurrently([0, 1, 2, 3, 4, 5], 2, work), /one is bad/);
  await sleep(10);
  assert.ok(!begun.includes(5), `began ${begun}`);
});
