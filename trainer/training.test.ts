import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { completeRoundSettings, type RoundSettings } from '../shared/rounds/settings.ts';
import { readSettings } from '../shared/settings.ts';
import { tinyArchitecture, tinyWeights } from '../testing/tiny-checkpoint.ts';
import { pairSequences } from '../testing/training.ts';
import type { Engine, TrainPair } from './engine/engine.ts';
import { openEngine } from './engine/open-engine.ts';
import { InterruptedError } from './stages/log.ts';
import { trainPolicy } from './training.ts';

const architecture = tinyArchitecture({ layers: 1, hiddenSize: 16, intermediateSize: 16, heads: 2, kvHeads: 1 });
const objective = { type: 'lsif' };
const NAME = 'model.layers.0.mlp.up_proj.weight';

async function openTinyEngine(t: TestContext): Promise<Engine> {
  const engine = await openEngine({ architecture, weights: tinyWeights(architecture, 2), objective: {}, threads: 1 });
  t.after(() => engine.close());
  return engine;
}

async function createFolder(t: TestContext): Promise<string> {
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
  return pairSequences(engine, sequences);
}

/** Records in memory what a round writes to Postgres. */
class MemoryLog {
  readonly messages: string[] = [];
  readonly metrics: { step: number; split: string; loss: number; kl?: number | undefined }[] = [];
  /** Called after every step; throws to simulate a kill. */
  afterStep: (step: number) => void = () => {};
  async addEvent(_type: string, message: string): Promise<void> {
    this.messages.push(message);
  }
  async addMetrics(step: number, split: string, values: Record<string, number>): Promise<void> {
    this.metrics.push({ step, split, loss: values.loss!, kl: values['objective/kl'] });
  }
  reportProgress(_stage: string, done: number): void {
    this.afterStep(done);
  }
}

function createConfig(changes: Partial<RoundSettings> = {}): RoundSettings {
  const config = completeRoundSettings(
    {},
    readSettings({ BATCH_PAIRS: '4', LEARNING_RATE: '0.003', EARLY_STOPPING: '0' }),
  );
  return { ...config, ...changes };
}

test('a killed round resumes from its last checkpoint and ends with the same weights', async (t) => {
  const finalWeights: Float32Array[] = [];
  for (const isKilled of [false, true]) {
    const folder = await createFolder(t);
    const config = createConfig({ epochs: 3 });
    const log = new MemoryLog();
    let engine = await openTinyEngine(t);
    const train = await makePairs(engine, 10);
    const heldOut = await makePairs(engine, 6, 1);
    if (isKilled) {
      log.afterStep = (step) => {
        if (step === 6) throw new Error('killed');
      };
      const killed = trainPolicy({ engine, train, heldOut, config, objective, log, folder, saveIntervalMs: 0 });
      await assert.rejects(killed, /killed/);
      log.afterStep = () => {};
      engine = await openTinyEngine(t);
      log.metrics.length = 0;
    }
    const { steps } = await trainPolicy({ engine, train, heldOut, config, objective, log, folder });
    assert.equal(steps, 9);
    finalWeights.push((await engine.weights()).get(NAME)!.data);
    if (isKilled) {
      assert.match(log.messages[0]!, /^resuming after step 5 of 9$/);
      assert.equal(log.metrics[0]!.step, 6);
    }
  }
  assert.deepEqual(finalWeights[1], finalWeights[0]);
});

test('an interrupted round resumes after its last finished step', async (t) => {
  const folder = await createFolder(t);
  const engine = await openTinyEngine(t);
  const log = new MemoryLog();
  log.afterStep = (step) => {
    if (step === 3) throw new InterruptedError('stopped');
  };
  const train = await makePairs(engine, 10);
  const training = { engine, train, heldOut: [], config: createConfig({ epochs: 2 }), objective, log, folder };
  await assert.rejects(trainPolicy(training), InterruptedError);
  log.afterStep = () => {};
  await trainPolicy(training);
  assert.match(log.messages[0]!, /^resuming after step 3 of 6$/);
});

test('a checkpoint of other pairs or settings, or a damaged one, is not resumed', async (t) => {
  const folder = await createFolder(t);
  const engine = await openTinyEngine(t);
  const train = await makePairs(engine, 4);
  const run = async (config: RoundSettings, log = new MemoryLog()) => {
    await trainPolicy({ engine, train, heldOut: [], config, objective, log, folder, saveIntervalMs: 0 });
    return log.messages.filter((message) => message.includes('resuming'));
  };
  assert.deepEqual(await run(createConfig()), []);
  assert.equal((await run(createConfig())).length, 1);
  // A setting of rewards, which the row of a policy's round does not have.
  assert.equal((await run(createConfig({ reward_learning_rate: 1e-5 }))).length, 1);
  assert.deepEqual(await run(createConfig({ learning_rate: 1e-5 })), []);
  assert.equal((await readdir(folder)).length, 2);
  await writeFile(path.join(folder, 'checkpoint.json'), '{"fingerprint"');
  assert.deepEqual(await run(createConfig({ learning_rate: 1e-5 })), []);
});

test('training stops early when held-out pairs no longer improve, with the best weights', async (t) => {
  const engine = await openTinyEngine(t);
  const log = new MemoryLog();
  // The held-out pairs prefer the opposite of the others, so each step makes them worse.
  const train = await makePairs(engine, 8);
  const heldOut = train.slice(0, 2).map((pair) => ({
    chosen: pair.rejected,
    rejected: pair.chosen,
    refChosenLogps: pair.refRejectedLogps,
    refRejectedLogps: pair.refChosenLogps,
  }));
  const config = createConfig({ epochs: 20, early_stopping: 2, effort: 5, warm_up: 0 });
  const folder = await createFolder(t);
  const { steps } = await trainPolicy({ engine, train, heldOut, config, objective, log, folder });
  assert.equal(steps, 6);
  assert.match(log.messages[0]!, /stopped at step 6 of 40: no better held-out loss since step 2/);
  assert.match(log.messages[1]!, /restored the weights of step 2/);
  const seen = log.metrics.filter(({ split }) => split === 'held_out');
  assert.ok(Math.abs((await engine.evaluate(heldOut)).loss - seen[0]!.loss) < 1e-6);
});

test('each held-out evaluation but the last has a KL, and what is measured can be stopped', async (t) => {
  const engine = await openTinyEngine(t);
  const train = await makePairs(engine, 8);
  const heldOut = await makePairs(engine, 2, 1);
  const config = createConfig({ epochs: 20 });
  const evaluations = { count: 4, pairs: 2, samples: 16, klSamples: 8 };
  let measured = 0;
  const log = new MemoryLog();
  const training = { engine, train, heldOut, evaluations, config, objective, log, folder: await createFolder(t) };
  const { steps } = await trainPolicy({ ...training, measureKl: async () => ++measured / 10 });
  const seen = log.metrics.filter(({ split }) => split === 'held_out').map(({ step, kl }) => [step, kl]);
  assert.deepEqual(seen, [
    [steps / 4, 0.1],
    [steps / 2, 0.2],
    [(3 * steps) / 4, 0.3],
    [steps, undefined],
  ]);
  const stopping = {
    ...training,
    folder: await createFolder(t),
    measureKl: async (onProgress: (responses: number) => void) => {
      log.afterStep = () => {
        throw new InterruptedError('stopped');
      };
      onProgress(1);
      return 0;
    },
  };
  await assert.rejects(trainPolicy(stopping), InterruptedError);
});

test('a gradient that is not finite stops the round, reports the step, and keeps the last good weights', async (t) => {
  const engine = await openTinyEngine(t);
  const folder = await createFolder(t);
  const train = await makePairs(engine, 4);
  train[1]!.refChosenLogps.fill(Number.NaN);
  const training = { engine, train, heldOut: [], config: createConfig(), objective, log: new MemoryLog(), folder };
  await assert.rejects(trainPolicy(training), (error: Error) => {
    assert.match(error.message, /training diverged at step 1: the loss is NaN.*The weights after step 0 are in /);
    return true;
  });
  assert.ok((await readdir(folder)).includes('step-0.safetensors'));
  for (const x of (await engine.weights()).get(NAME)!.data) assert.ok(Number.isFinite(x));
});
