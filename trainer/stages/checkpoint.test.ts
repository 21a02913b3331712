import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import type { Engine } from '../engine/engine.ts';
import { adoptCheckpoint, openCheckpoint, type TrainingProgress } from './checkpoint.ts';

/** What openCheckpoint uses of an engine: its weights are the name of the trainer that saved them. */
class FakeEngine {
  weights: string;
  constructor(weights: string) {
    this.weights = weights;
  }
  async save(file: string): Promise<void> {
    await writeFile(file, this.weights);
  }
  async restore(file: string): Promise<void> {
    this.weights = await readFile(file, 'utf8');
  }
}

const progressAt = (step: number): TrainingProgress => ({
  step,
  tokens: 0,
  seconds: 0,
  bestLoss: null,
  bestStep: null,
  evaluationsSinceBest: 0,
});
const open = (folder: string, engine: FakeEngine) => openCheckpoint(folder, 'same', engine as unknown as Engine);

test('a trainer adopts the furthest checkpoint of a round, and the earlier one that still runs cannot mix in its own', async (t) => {
  const round = await mkdtemp(path.join(tmpdir(), 'attune-checkpoint-'));
  t.after(() => rm(round, { recursive: true, force: true }));
  const folder = (owner: string) => path.join(round, owner);
  const behind = await open(folder('behind'), new FakeEngine('behind'));
  await behind.save(progressAt(3));
  const earlier = await open(folder('earlier'), new FakeEngine('earlier'));
  await earlier.save(progressAt(7));
  await mkdir(folder('earlier-samples'));
  await writeFile(folder('stray'), '');
  await writeFile(folder('samples.json'), '');

  await adoptCheckpoint(folder('next'));
  const engine = new FakeEngine('');
  const next = await open(folder('next'), engine);
  assert.equal(next.resumed?.step, 7);
  assert.equal(engine.weights, 'earlier');
  assert.deepEqual((await readdir(round)).sort(), ['next', 'samples.json']);

  await assert.rejects(earlier.save(progressAt(8)), { code: 'ENOENT' });
  engine.weights = 'next';
  await next.save(progressAt(8));
  assert.deepEqual((await readdir(folder('next'))).sort(), ['checkpoint.json', 'step-8.safetensors']);
  assert.equal(await readFile(path.join(folder('next'), 'step-8.safetensors'), 'utf8'), 'next');
});

test('a round without a checkpoint has none to adopt', async (t) => {
  const home = await mkdtemp(path.join(tmpdir(), 'attune-checkpoint-'));
  t.after(() => rm(home, { recursive: true, force: true }));
  await adoptCheckpoint(path.join(home, 'round_1', 'first'));
  assert.deepEqual(await readdir(home), []);
});
