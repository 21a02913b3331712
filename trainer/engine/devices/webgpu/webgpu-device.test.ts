import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Tensor } from 'onnxruntime-node';
import { FAMILY_NAMES } from '../../../../shared/model/architecture.ts';
import type { Weights } from '../../../../shared/model/safetensors.ts';
import { type TinyOptions, tinyArchitecture, tinyWeights } from '../../../../testing/tiny-checkpoint.ts';
import { findVulkan, HOW_TO_GET_ONE, runWith } from '../../../../testing/vulkan.ts';
import { type ObjectiveRequest, readObjective } from '../../../objectives.ts';
import type { Device } from '../../device.ts';
import { Learner } from '../../device-engine.ts';
import { defaultOptimizer, type TrainPair } from '../../engine.ts';
import { type LoraSettings, loadPolicy } from '../../lora.ts';
import { openEngine } from '../../open-engine.ts';
import { buildProgram, type ProgramKind } from '../../programs.ts';
import { OnnxDevice } from '../cpu/cpu-device.ts';
import { Arithmetic, openSession, upload } from './gpu-operations.ts';
import { WebgpuDevice } from './webgpu-device.ts';

const LORA: LoraSettings = { rank: 4, alpha: 8, targets: ['q_proj', 'down_proj'] };
const INSIDE = 'ATTUNE_TEST_INSIDE';

if (process.env[INSIDE]) testDevice();
else
  test('the engine on a GPU', { timeout: 600_000 }, (t) => {
    const environment = findVulkan();
    if (!environment) return t.skip(HOW_TO_GET_ONE);
    t.diagnostic(`Vulkan: ${environment.VK_DRIVER_FILES ?? 'the machine’s own'}`);
    const { passed, output } = runWith({ ...environment, [INSIDE]: '1' }, fileURLToPath(import.meta.url));
    assert.ok(passed, output);
    assert.match(output, /pass [1-9]/);
  });

function testDevice(): void {
  // With its last session the GPU's context goes, and every shader would be compiled again for the next test.
  const held = new Arithmetic();
  before(async () => {
    (await held.run(upload, { x: new Tensor('float32', [1], [1]) })).y.dispose();
  });
  after(() => held.close());

  test('no node of any program, objective or family is left to the CPU', async () => {
    const llama = tinyArchitecture({ layers: 1 });
    const bucket = { S: 4, T: 32, R: 32, P: 2 };
    const open = async (a: typeof llama, kind: ProgramKind, request: ObjectiveRequest, lora?: LoraSettings) => {
      const { bytes } = buildProgram(a, readObjective(request), kind, bucket, 'webgpu', lora);
      await (await openSession(bytes, 'gpu-buffer', true)).release();
    };
    for (const kind of ['logits', 'score', 'evaluate'] as const) await open(llama, kind, {});
    for (const objective of ['lsif', 'ukl', 'bce', 'dpo', 'sft'] as const)
      for (const reduction of ['mean', 'sum'] as const) await open(llama, 'step', { objective, reduction });
    for (const family of FAMILY_NAMES) await open(tinyArchitecture({ family, layers: 1 }), 'step', {});
    await open(llama, 'step', {}, LORA);
    await assert.rejects(
      openSession(buildProgram(llama, readObjective({}), 'step', bucket).bytes, 'cpu', true),
      /CPU EP/,
    );
  });

  test('gradients and steps agree with those of the CPU, over micro-batches and rows that come twice', async () => {
    const results = [];
    for (const make of [openCpu, openGpu]) {
      const { device, learner } = make({ vocabSize: 300 }, { weightDecay: 0.1 });
      const pairs = await makePairs(learner, 4);
      const first = await learner.step(pairs, 0);
      // After one step the first moment is the clipped gradient times 1 − β₁.
      const gradient = await device.copy('first');
      const reports = [first];
      for (let i = 0; i < 3; i++) reports.push(await learner.step(pairs, 1e-3));
      const ids = [1, 7, 3, 3, 9];
      results.push({ gradient, reports, weights: await learner.weights(), logits: await learner.logits(ids) });
      await learner.close();
    }
    const [cpu, gpu] = results as [(typeof results)[0], (typeof results)[0]];
    for (const [name, { data }] of cpu.gradient) {
      const apart = distance(gpu.gradient.get(name)!.data, data);
      assert.ok(apart < 1e-4, `gradient of ${name}: ${apart}`);
    }
    for (const [i, report] of cpu.reports.entries()) {
      assert.ok(Math.abs(gpu.reports[i]!.loss - report.loss) < 1e-4 * Math.abs(report.loss), `loss ${i}`);
      assert.ok(Math.abs(gpu.reports[i]!.gradNorm - report.gradNorm) < 1e-4 * report.gradNorm, `norm ${i}`);
    }
    assert.ok(farthest(gpu.weights, cpu.weights) < 1e-4);
    assert.ok(distance(gpu.logits, cpu.logits) < 1e-4);
  });

  test('adapters alone are trained, as on the CPU', async () => {
    const ends: Weights[] = [];
    for (const make of [openCpu, openGpu]) {
      const { learner, weights } = make({}, { lora: LORA });
      const pairs = await makePairs(learner, 2);
      for (let i = 0; i < 3; i++) await learner.step(pairs, 1e-2);
      const end = await learner.weights();
      for (const [name, { data }] of end)
        assert.equal(distance(data, weights.get(name)!.data) > 1e-3, /q_proj|down_proj/.test(name), name);
      ends.push(end);
      await learner.close();
    }
    assert.ok(farthest(ends[1]!, ends[0]!) < 1e-4);
  });

  test('weights and moments stay on the GPU, and memory does not grow from step to step', async () => {
    // 1 MiB of embeddings: a step that kept its old weights, moments or gradient would take as much each time.
    const { device, learner } = openGpu({ vocabSize: 4096, hiddenSize: 64, layers: 1 }, { microBatchTokens: 64 });
    const pairs = await makePairs(learner, 2);
    for (let i = 0; i < 3; i++) await learner.step(pairs, 1e-3);
    const before = process.memoryUsage().rss;
    for (let i = 0; i < 8; i++) await learner.step(pairs, 1e-3);
    const grown = (process.memoryUsage().rss - before) / 2 ** 20;
    for (const array of ['weight', 'first', 'second'] as const)
      assert.deepEqual(device.places(array), new Set(['gpu-buffer']), array);
    await learner.close();
    assert.ok(grown < 6, `${grown} MiB`);
  });

  test('a saved state goes on as if never stopped', async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'attune-gpu-'));
    t.after(() => rm(folder, { recursive: true, force: true }));
    const path = join(folder, 'state.safetensors');
    const one = openGpu();
    const pairs = await makePairs(one.learner, 2);
    await one.learner.step(pairs, 1e-3);
    await one.learner.save(path);
    const saved = await one.learner.weights();
    await one.learner.step(pairs, 1e-3);
    const expected = await one.learner.weights();
    await one.learner.close();

    const other = openGpu({ seed: 9 });
    await other.learner.restore(path);
    for (const [name, { data }] of await other.learner.weights()) assert.deepEqual(data, saved.get(name)!.data, name);
    await other.learner.step(pairs, 1e-3);
    assert.ok(farthest(await other.learner.weights(), expected) < 1e-6);
    assert.equal(other.device.steps, 2);
    await other.learner.close();
  });

  test('a gradient that is not finite leaves the weights as they are', async () => {
    const { learner, weights } = openGpu();
    const pairs = await makePairs(learner, 2);
    pairs[0]!.refChosenLogps.fill(Number.NaN);
    const { gradNorm } = await learner.step(pairs, 1e-3);
    assert.ok(Number.isNaN(gradNorm));
    for (const [name, { data }] of await learner.weights()) assert.deepEqual(data, weights.get(name)!.data, name);
    await learner.close();
  });

  test('engines in threads of their own can follow one another', async () => {
    const architecture = tinyArchitecture({ layers: 1 });
    const weights = tinyWeights(architecture, 4);
    const sequences = [{ promptIds: [1, 5, 9], responseIds: [8, 7] }];
    const scores: Float32Array[] = [];
    for (const provider of ['cpu', 'webgpu', 'webgpu'] as const) {
      const engine = await openEngine({ architecture, weights, objective: {}, provider });
      scores.push((await engine.score(sequences))[0]!);
      await engine.close();
    }
    assert.ok(distance(scores[1]!, scores[0]!) < 1e-5);
    assert.deepEqual(scores[2], scores[1]);
  });
}

type Opened<D extends Device> = { device: D; learner: Learner; weights: Weights };
type Settings = { weightDecay?: number; microBatchTokens?: number; lora?: LoraSettings };

function prepare<D extends Device>(
  make: (options: ConstructorParameters<typeof WebgpuDevice>[0]) => D,
  { seed = 3, ...tiny }: TinyOptions = {},
  { weightDecay = 0, microBatchTokens = 128, lora }: Settings = {},
): Opened<D> {
  const architecture = tinyArchitecture({ layers: 2, hiddenSize: 16, intermediateSize: 24, ...tiny });
  const optimizer = { ...defaultOptimizer, weightDecay };
  const options = { architecture, objective: readObjective({}), threads: 2, optimizer, microBatchTokens, lora };
  const device = make(options);
  const weights = tinyWeights(architecture, seed);
  loadPolicy(device, weights, options);
  return { device, learner: new Learner(device, options, lora && weights), weights };
}
const openCpu = (tiny?: TinyOptions, settings?: Settings): Opened<OnnxDevice> =>
  prepare((options) => new OnnxDevice(options), tiny, settings);
const openGpu = (tiny?: TinyOptions, settings?: Settings): Opened<WebgpuDevice> =>
  prepare((options) => new WebgpuDevice(options), tiny, settings);

/** Pairs whose reference is the policy as it is now, of few different tokens. */
async function makePairs(learner: Learner, count: number): Promise<TrainPair[]> {
  const tokens = (seed: number, length: number) =>
    Array.from({ length }, (_, i) => (i * i * 31 + seed * 17 + i * 7) % 23);
  const sequences = Array.from({ length: 2 * count }, (_, i) => ({
    promptIds: tokens(i, 2 + (i % 4)),
    responseIds: tokens(i + 50, 1 + ((i * 5) % 27)),
  }));
  const logps = await learner.score(sequences);
  return Array.from({ length: count }, (_, i) => ({
    chosen: sequences[2 * i]!,
    rejected: sequences[2 * i + 1]!,
    refChosenLogps: logps[2 * i]!,
    refRejectedLogps: logps[2 * i + 1]!,
  }));
}

/** ‖a − b‖ / ‖b‖ */
function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let difference = 0;
  let size = 0;
  for (let i = 0; i < b.length; i++) {
    difference += (a[i]! - b[i]!) ** 2;
    size += b[i]! ** 2;
  }
  return Math.sqrt(difference / (size + 1e-30));
}

function farthest(a: Weights, b: Weights): number {
  return Math.max(...Array.from(b, ([name, { data }]) => distance(a.get(name)!.data, data)));
}
