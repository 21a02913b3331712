import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { completeRoundSettings, type RoundSettings } from '../shared/rounds/settings.ts';
import { readSettings } from '../shared/settings.ts';
import { tinyArchitecture, tinyWeights } from '../testing/tiny-checkpoint.ts';
import type { Engine, TrainPair } from './engine/engine.ts';
import { openEngine } from './engine/open-engine.ts';
import { Interruption } from './stages/log.ts';
import { trainPolicy } from './training.ts';

const architecture = tinyArchitecture({ layers: 1, hiddenSize: 16, intermediateSize: 16, heads: 2, kvHeads: 1 });
const objective = { type: 'lsif' };
const NAME = 'model.layers.0.mlp.up_proj.weight';

async function open(t: TestContext): Promise<Engine> {
  const engine = await openEngine({ architecture, weights: tinyWeights(architecture, 2), objective: {}, threads: 1 });
  t.after(() => engine.close());
  return engine;
}

async function openFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'attune-training-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return path.join(folder, 'round_1');
}

async function makePairs(engine: Engine, count: number, seed = 0): Promise<TrainPair[]> {
  const sequence = (i: number) => ({
    promptIds: [1, 5 + (i % 7)],
    responseIds: [9 + ((i * 3 + seed) % 40), 20 + (i % 11), 2],
  });
  const sequences = Array.from({ length: 2 * count }, (_, i) => sequence(i + 100 * seed));
  const logps = await engine.score(sequences);
  return Array.from({ length: count }, (_, i) => ({
    chosen: sequences[2 * i]!,
    rejected: sequences[2 * i + 1]!,
    refChosenLogps: logps[2 * i]!,
    refRejectedLogps: logps[2 * i + 1]!,
  }));
}

/** Keeps in memory what a round writes to Postgres. */
class Notes {
  readonly said: string[] = [];
  readonly measured: { step: number; split: string; loss: number }[] = [];
  /** Stands for a kill: called after every step. */
  afterStep: (step: number) => void = () => {};
  async say(_type: string, message: string): Promise<void> {
    this.said.push(message);
  }
  async measure(step: number, split: string, values: { loss?: number }): Promise<void> {
    this.measured.push({ step, split, loss: values.loss! });
  }
  progress(_stage: string, done: number): void {
    this.afterStep(done);
  }
}
function settle(changes: Partial<RoundSettings> = {}): RoundSettings {
  const how = completeRoundSettings(
    {},
    readSettings({ BATCH_PAIRS: '4', LEARNING_RATE: '0.003', EARLY_STOPPING: '0' }),
  );
  return { ...how, ...changes };
}

test('a round that was killed goes on from its last state and ends with the very weights', async (t) => {
  const ends: Float32Array[] = [];
  for (const isKilled of [false, true]) {
    const folder = await openFolder(t);
    const how = settle({ epochs: 3 });
    const notes = new Notes();
    let engine = await open(t);
    const train = await makePairs(engine, 10);
    const heldOut = await makePairs(engine, 6, 1);
    if (isKilled) {
      notes.afterStep = (step) => {
        if (step === 6) throw new Error('killed');
      };
      const killed = trainPolicy({ engine, train, heldOut, how, objective, record: notes, folder, saveEvery: 0 });
      await assert.rejects(killed, /killed/);
      notes.afterStep = () => {};
      engine = await open(t);
      notes.measured.length = 0;
    }
    const { steps } = await trainPolicy({ engine, train, heldOut, how, objective, record: notes, folder });
    assert.equal(steps, 9);
    ends.push((await engine.weights()).get(NAME)!.data);
    if (isKilled) {
      assert.match(notes.said[0]!, /going on after step 5 of 9/);
      assert.equal(notes.measured[0]!.step, 6);
    }
  }
  assert.deepEqual(ends[1], ends[0]);
});

test('a round that is interrupted is kept at that very step', async (t) => {
  const folder = await openFolder(t);
  const engine = await open(t);
  const notes = new Notes();
  notes.afterStep = (step) => {
    if (step === 3) throw new Interruption('stopped');
  };
  const train = await makePairs(engine, 10);
  const training = { engine, train, heldOut: [], how: settle({ epochs: 2 }), objective, record: notes, folder };
  await assert.rejects(trainPolicy(training), Interruption);
  notes.afterStep = () => {};
  await trainPolicy(training);
  assert.match(notes.said[0]!, /going on after step 3 of 6/);
});

test('a state of other pairs or settings, or a broken one, is not gone on from', async (t) => {
  const folder = await openFolder(t);
  const engine = await open(t);
  const train = await makePairs(engine, 4);
  const run = async (how: RoundSettings, notes = new Notes()) => {
    await trainPolicy({ engine, train, heldOut: [], how, objective, record: notes, folder, saveEvery: 0 });
    return notes.said.filter((message) => message.includes('going on'));
  };
  assert.deepEqual(await run(settle()), []);
  assert.equal((await run(settle())).length, 1);
  assert.deepEqual(await run(settle({ learning_rate: 1e-5 })), []);
  assert.equal((await readdir(folder)).length, 2);
  await writeFile(path.join(folder, 'place.json'), '{"plan"');
  assert.deepEqual(await run(settle({ learning_rate: 1e-5 })), []);
});

test('training that no longer helps on held-out pairs stops, and the best weights are taken', async (t) => {
  const engine = await open(t);
  const notes = new Notes();
  // The held-out pairs want the opposite of the others, so each step harms.
  const train = await makePairs(engine, 8);
  const heldOut = train.map((pair) => ({
    chosen: pair.rejected,
    rejected: pair.chosen,
    refChosenLogps: pair.refRejectedLogps,
    refRejectedLogps: pair.refChosenLogps,
  }));
  const how = settle({ epochs: 20, early_stopping: 2, effort: 5, warm_up: 0 });
  const folder = await openFolder(t);
  const { steps } = await trainPolicy({ engine, train, heldOut, how, objective, record: notes, folder });
  assert.equal(steps, 6);
  assert.match(notes.said[0]!, /stopped at step 6 of 40: no better since step 2/);
  assert.match(notes.said[1]!, /took the weights of step 2/);
  const seen = notes.measured.filter(({ split }) => split === 'held_out');
  assert.ok(Math.abs((await engine.evaluate(heldOut)).loss - seen[0]!.loss) < 1e-6);
});

test('a gradient that is not finite stops the round, says where, and keeps the last good weights', async (t) => {
  const engine = await open(t);
  const folder = await openFolder(t);
  const train = await makePairs(engine, 4);
  train[1]!.refChosenLogps.fill(Number.NaN);
  const training = { engine, train, heldOut: [], how: settle(), objective, record: new Notes(), folder };
  await assert.rejects(trainPolicy(training), (error: Error) => {
    assert.match(error.message, /training diverged at step 1: the loss is NaN.*The weights after step 0 are in /);
    return true;
  });
  assert.ok((await readdir(folder)).includes('step-0.safetensors'));
  for (const x of (await engine.weights()).get(NAME)!.data) assert.ok(Number.isFinite(x));
});
