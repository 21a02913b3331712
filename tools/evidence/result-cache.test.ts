import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { ResultCache } from './result-cache.ts';

test('computes once per key and again for another key', async (context) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'attune-test-'));
  context.after(() => rm(folder, { recursive: true }));
  let count = 0;
  const compute = async () => ({ done: ++count });
  const getOrCompute = (key: unknown) =>
    new ResultCache(folder, { readOnly: false }).getOrCompute('lsif, seed 1', key, compute);
  assert.deepEqual(await getOrCompute({ rate: 1, seed: 1 }), { done: 1 });
  assert.deepEqual(await getOrCompute({ seed: 1, rate: 1 }), { done: 1 });
  assert.deepEqual(await getOrCompute({ rate: 2, seed: 1 }), { done: 2 });
  assert.equal((await readdir(folder)).length, 2);
});

test('a failed computation is not cached', async (context) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'attune-test-'));
  context.after(() => rm(folder, { recursive: true }));
  const cache = new ResultCache(folder, { readOnly: false });
  const failing = cache.getOrCompute('run', 1, async () => {
    throw new Error('stopped');
  });
  await assert.rejects(failing, /stopped/);
  assert.equal(await cache.getOrCompute('run', 1, async () => 'worked'), 'worked');
});

test('a read-only cache returns cached results and null for others', async (context) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'attune-test-'));
  context.after(() => rm(folder, { recursive: true }));
  await new ResultCache(folder, { readOnly: false }).getOrCompute('run', 1, async () => 'found');
  const readOnly = new ResultCache(folder, { readOnly: true });
  const never = async () => assert.fail('computed in a read-only cache');
  assert.equal(await readOnly.getOrCompute('run', 1, never), 'found');
  assert.equal(await readOnly.getOrCompute('run', 2, never), null);
});
