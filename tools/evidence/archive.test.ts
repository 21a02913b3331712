import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { Archive } from './archive.ts';

test('work is done once for what decides it, and again where that differs', async (context) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'attune-test-'));
  context.after(() => rm(folder, { recursive: true }));
  let done = 0;
  const work = async () => ({ done: ++done });
  const recall = (key: unknown) => new Archive(folder, { canWork: true }).recall('lsif, seed 1', key, work);
  assert.deepEqual(await recall({ rate: 1, seed: 1 }), { done: 1 });
  assert.deepEqual(await recall({ seed: 1, rate: 1 }), { done: 1 });
  assert.deepEqual(await recall({ rate: 2, seed: 1 }), { done: 2 });
  assert.equal((await readdir(folder)).length, 2);
});

test('work that fails is not kept', async (context) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'attune-test-'));
  context.after(() => rm(folder, { recursive: true }));
  const archive = new Archive(folder, { canWork: true });
  const failing = archive.recall('run', 1, async () => {
    throw new Error('stopped');
  });
  await assert.rejects(failing, /stopped/);
  assert.equal(await archive.recall('run', 1, async () => 'worked'), 'worked');
});

test('where it may not work, what is not kept is null and what is kept is there', async (context) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'attune-test-'));
  context.after(() => rm(folder, { recursive: true }));
  await new Archive(folder, { canWork: true }).recall('run', 1, async () => 'found');
  const idle = new Archive(folder, { canWork: false });
  const never = async () => assert.fail('it worked');
  assert.equal(await idle.recall('run', 1, never), 'found');
  assert.equal(await idle.recall('run', 2, never), null);
});
