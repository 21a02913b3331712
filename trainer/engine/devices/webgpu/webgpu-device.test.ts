import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Tensor } from 'onnxruntime-node';
import { FAMILY_NAMES } from '../../../../shared/model/architecture.ts';
import type { Weights } from '../../../../shared/model/tensor.ts';
import { type TinyCheckpointOptions, tinyArchitecture, tinyWeights } from '../../../../testing/tiny-checkpoint.ts';
import { makeTokens, pairSequences, relativeError } from '../../../../testing/training.ts';
import { findVulkan, runTestFile, VULKAN_INSTALL_HINT } from '../../../../testing/vulkan.ts';
import { type ObjectiveInput, parseObjective } from '../../../objectives.ts';
import { type Device, loadPolicy } from '../../device.ts';
import { DeviceEngine } from '../../device-engine.ts';
import { DEFAULT_OPTIMIZER, type TrainPair } from '../../engine.ts';
import type { LoraConfig } from '../../lora.ts';
import { openEngine } from '../../open-engine.ts';
import { buildBucketProgram, type ProgramKind } from '../../programs.ts';
import { CpuDevice } from '../cpu/cpu-device.ts';
import { GpuOperations, openWebgpuSession, upload } from './gpu-operations.ts';
import { WebgpuDevice } from './webgpu-device.ts';

const LORA: LoraConfig = { rank: 4, alpha: 8, targets: ['q_proj', 'down_proj'] };
const REWARD: TinyCheckpointOptions['variant'] = { output: 'reward' };
/** Set in the child process that runs the tests of this file on a Vulkan device. */
const CHILD_VARIABLE = 'ATTUNE_TEST_INSIDE';

if (process.env[CHILD_VARIABLE]) testDevice();
else
  test('the tests of the WebGPU device pass in a process with a Vulkan driver', { timeout: 600_000 }, (t) => {
    const environment = findVulkan();
    if (!environment) return t.skip(VULKAN_INSTALL_HINT);
    t.diagnostic(`Vulkan: ${environment.VK_DRIVER_FILES ?? 'the machine’s own'}`);
    const { passed, output } = runTestFile({ ...environment, [CHILD_VARIABLE]: '1' }, fileURLToPath(import.meta.url));
    assert.ok(passed, output);
    assert.match(output, /pass [1-9]/);
  });

function testDevice(): void {
  // Closing the last session releases the GPU's context, and the next test would compile every shader again.
  const keepAlive = new GpuOperations();
  before(async () => {
    (await keepAlive.run(upload, { x: new Tensor('float32', [1], [1]) })).y.dispose();
  });
  after(() => keepAlive.close());

  test('no node of any program, objective or family runs on the CPU', async () => {
    const llama = tinyArchitecture({ layers: 1 });
    const bucket = { S: 4, T: 32, R: 32, P: 2 };
    const open = async (a: typeof llama, kind: ProgramKind, request: ObjectiveInput, lora?: LoraConfig) => {
      const { bytes } = buildBucketProgram(a, parseObjective(request), kind, bucket, 'webgpu', lora);
      await (await openWebgpuSession(bytes, 'gpu-buffer', true)).release();
    };
    for (const kind of ['logits', 'score', 'evaluate'] as const) await open(llama, kind, {});
    for (const objective of ['lsif', 'ukl', 'bce', 'dpo', 'sft'] as const)
      for (const reduction of ['mean', 'sum'] as const) await open(llama, 'step', { objective, reduction });
    for (const family of FAMILY_NAMES) await open(tinyArchitecture({ family, layers: 1 }), 'step', {});
    await open(llama, 'step', {}, LORA);
    for (const kind of ['score', 'step'] as const)
      await open(tinyArchitecture({ layers: 1, variant: REWARD }), kind, { objective: 'dpo' }, LORA);
    await assert.rejects(
      openWebgpuSession(buildBucketProgram(llama, parseObjective({}), 'step', bucket).bytes, 'cpu', true),
      /CPU EP/,
    );
  });

  test('gradients and steps equal those of the CPU, with micro-batches and repeated tokens', async () => {
    const results = [];
    for (const open of [openCpu, openGpu]) {
      const { device, engine } = open({ vocabSize: 300 }, { weightDecay: 0.1 });
      const pairs = await makePairs(engine, 4);
      const first = await engine.step(pairs, 0);
      // After one step the first moment is the clipped gradient times 1 − β₁.
      const gradient = await device.copy('firstMoment');
      const reports = [first];
      for (let i = 0; i < 3; i++) reports.push(await engine.step(pairs, 1e-3));
      const ids = [1, 7, 3, 3, 9];
      results.push({ gradient, reports, weights: await engine.weights(), logits: await engine.logits(ids) });
      await engine.close();
    }
    const [cpu, gpu] = results as [(typeof results)[0], (typeof results)[0]];
    for (const [name, { data }] of cpu.gradient) {
      const difference = relativeError(gpu.gradient.get(name)!.data, data);
      assert.ok(difference < 1e-4, `gradient of ${name}: ${difference}`);
    }
    for (const [i, report] of cpu.reports.entries()) {
      assert.ok(Math.abs(gpu.reports[i]!.loss - report.loss) < 1e-4 * Math.abs(report.loss), `loss ${i}`);
      assert.ok(Math.abs(gpu.reports[i]!.gradNorm - report.gradNorm) < 1e-4 * report.gradNorm, `norm ${i}`);
    }
    assert.ok(maxRelativeError(gpu.weights, cpu.weights) < 1e-4);
    assert.ok(relativeError(gpu.logits, cpu.logits) < 1e-4);
  });

  test('only adapters are trained, as on the CPU', async () => {
    const finalWeights: Weights[] = [];
    for (const open of [openCpu, openGpu]) {
      const { engine, weights } = open({}, { lora: LORA });
      const pairs = await makePairs(engine, 2);
      for (let i = 0; i < 3; i++) await engine.step(pairs, 1e-2);
      const end = await engine.weights();
      for (const [name, { data }] of end)
        assert.equal(relativeError(data, weights.get(name)!.data) > 1e-3, /q_proj|down_proj/.test(name), name);
      finalWeights.push(end);
      await engine.close();
    }
    assert.ok(maxRelativeError(finalWeights[1]!, finalWeights[0]!) < 1e-4);
  });

  test('a reward is trained as on the CPU, with and without adapters', async () => {
    for (const lora of [undefined, LORA]) {
      const results: { weights: Weights; rewards: number[] }[] = [];
      for (const open of [openCpu, openGpu]) {
        const { engine } = open({ variant: REWARD }, { lora });
        const pairs = await makePairs(engine, 3);
        for (let i = 0; i < 3; i++) await engine.step(pairs, 1e-2);
        const scores = await engine.score(pairs.map(({ chosen }) => chosen));
        results.push({ weights: await engine.weights(), rewards: scores.map(([reward]) => reward!) });
        await engine.close();
      }
      assert.ok(maxRelativeError(results[1]!.weights, results[0]!.weights) < 1e-4);
      assert.ok(relativeError(results[1]!.rewards, results[0]!.rewards) < 1e-4);
    }
  });

  test('weights and moments stay on the GPU, and memory does not grow from step to step', async () => {
    // 1 MiB of embeddings: a step that leaked its old weights, moments or gradient would grow by as much.
    const { device, engine } = openGpu({ vocabSize: 4096, hiddenSize: 64, layers: 1 }, { microBatchTokens: 64 });
    const pairs = await makePairs(engine, 2);
    for (let i = 0; i < 3; i++) await engine.step(pairs, 1e-3);
    const before = process.memoryUsage().rss;
    for (let i = 0; i < 8; i++) await engine.step(pairs, 1e-3);
    const grown = (process.memoryUsage().rss - before) / 2 ** 20;
    for (const array of ['weight', 'firstMoment', 'secondMoment'] as const)
      assert.deepEqual(device.locations(array), new Set(['gpu-buffer']), array);
    await engine.close();
    assert.ok(grown < 6, `${grown} MiB`);
  });

  test('a restored state continues as if training had not stopped', async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'attune-gpu-'));
    t.after(() => rm(folder, { recursive: true, force: true }));
    const path = join(folder, 'state.safetensors');
    const one = openGpu();
    const pairs = await makePairs(one.engine, 2);
    await one.engine.step(pairs, 1e-3);
    await one.engine.save(path);
    const saved = await one.engine.weights();
    await one.engine.step(pairs, 1e-3);
    const expected = await one.engine.weights();
    await one.engine.close();

    const other = openGpu({ seed: 9 });
    await other.engine.restore(path);
    for (const [name, { data }] of await other.engine.weights()) assert.deepEqual(data, saved.get(name)!.data, name);
    await other.engine.step(pairs, 1e-3);
    assert.ok(maxRelativeError(await other.engine.weights(), expected) < 1e-6);
    assert.equal(other.device.optimizerSteps, 2);
    await other.engine.close();
  });

  test('a gradient that is not finite leaves the weights unchanged', async () => {
    // A GPU's softplus may make a finite number of NaN, so not the default's bce.
    const { engine, weights } = openGpu({}, { objective: { objective: 'lsif' } });
    const pairs = await makePairs(engine, 2);
    pairs[0]!.refChosenLogps.fill(Number.NaN);
    const { gradNorm } = await engine.step(pairs, 1e-3);
    assert.ok(Number.isNaN(gradNorm));
    for (const [name, { data }] of await engine.weights()) assert.deepEqual(data, weights.get(name)!.data, name);
    await engine.close();
  });

  test('engines in separate threads can run one after another', async () => {
    const architecture = tinyArchitecture({ layers: 1 });
    const weights = tinyWeights(architecture, 4);
    const sequences = [{ promptIds: [1, 5, 9], responseIds: [8, 7] }];
    const scores: Float32Array[] = [];
    for (const provider of ['cpu', 'webgpu', 'webgpu'] as const) {
      const engine = await openEngine({ architecture, weights, objective: {}, provider });
      scores.push((await engine.score(sequences))[0]!);
      await engine.close();
    }
    assert.ok(relativeError(scores[1]!, scores[0]!) < 1e-5);
    assert.deepEqual(scores[2], scores[1]);
  });
}

type Opened<D extends Device> = { device: D; engine: DeviceEngine; weights: Weights };
type Settings = {
  objective?: ObjectiveInput;
  weightDecay?: number;
  microBatchTokens?: number;
  lora?: LoraConfig;
};

function prepare<D extends Device>(
  make: (options: ConstructorParameters<typeof WebgpuDevice>[0]) => D,
  { seed = 3, ...tiny }: TinyCheckpointOptions = {},
  { objective = {}, weightDecay = 0, microBatchTokens = 128, lora }: Settings = {},
): Opened<D> {
  const architecture = tinyArchitecture({ layers: 2, hiddenSize: 16, intermediateSize: 24, ...tiny });
  const optimizer = { ...DEFAULT_OPTIMIZER, weightDecay };
  const options = {
    architecture,
    objective: parseObjective(objective),
    threads: 2,
    optimizer,
    microBatchTokens,
    lora,
  };
  const device = make(options);
  const weights = tinyWeights(architecture, seed);
  loadPolicy(device, weights, options);
  return { device, engine: new DeviceEngine(device, options, lora && weights), weights };
}
const openCpu = (tiny?: TinyCheckpointOptions, settings?: Settings): Opened<CpuDevice> =>
  prepare((options) => new CpuDevice(options), tiny, settings);
const openGpu = (tiny?: TinyCheckpointOptions, settings?: Settings): Opened<WebgpuDevice> =>
  prepare((options) => new WebgpuDevice(options), tiny, settings);

/** Pairs with few different tokens, so that tokens repeat. */
async function makePairs(engine: DeviceEngine, count: number): Promise<TrainPair[]> {
  const sequences = Array.from({ length: 2 * count }, (_, i) => ({
    promptIds: makeTokens(i, 2 + (i % 4), 23),
    responseIds: makeTokens(i + 50, 1 + ((i * 5) % 27), 23),
  }));
  return pairSequences(engine, sequences);
}

function maxRelativeError(a: Weights, b: Weights): number {
  return Math.max(...Array.from(b, ([name, { data }]) => relativeError(a.get(name)!.data, data)));
}
