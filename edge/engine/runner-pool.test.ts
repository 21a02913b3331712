import assert from 'node:assert/strict';
import { test } from 'node:test';
import { waitUntil } from '../../testing/wait-until.ts';
import { RunnerPool } from './runner-pool.ts';

function openPool(idleMs?: number) {
  const retired: string[] = [];
  const load = async (id: string) => ({ id, retire: async () => void retired.push(id) });
  return { retired, pool: new RunnerPool(2, load, idleMs) };
}

test('the least recently used runner makes room for another', async () => {
  const { pool, retired } = openPool();
  for (const id of ['a', 'b', 'a', 'c']) await pool.get(id);
  await waitUntil(async () => retired.length === 1);
  assert.deepEqual([retired, pool.ids], [['b'], ['c', 'a']]);
});

test('a runner that nobody asks for ends, and is loaded again by the next who does', async () => {
  const { pool, retired } = openPool(20);
  const first = await pool.get('a');
  await waitUntil(async () => retired.length === 1);
  assert.deepEqual(pool.ids, []);
  assert.notEqual(await pool.get('a'), first);
});
