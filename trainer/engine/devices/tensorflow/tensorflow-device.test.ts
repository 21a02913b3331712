import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import type { Architecture } from '../../../../shared/model/architecture.ts';
import { findTensorflowSkipReason } from '../../../../testing/tensorflow-addon.ts';
import { tinyArchitecture, tinyWeights } from '../../../../testing/tiny-checkpoint.ts';
import {
  makeSequence,
  makeTokens,
  norm,
  relativeError,
  SMALL_POLICY,
  zeroGradients,
} from '../../../../testing/training.ts';
import { type ObjectiveInput, parseObjective } from '../../../objectives.ts';
import { type InputArrays, packSequences } from '../../batch.ts';
import { type Device, loadPolicy } from '../../device.ts';
import { DeviceEngine } from '../../device-engine.ts';
import { DEFAULT_OPTIMIZER, NO_REFERENCE, type Sequence, type TrainPair } from '../../engine.ts';
import type { LoraConfig } from '../../lora.ts';
import { openEngine } from '../../open-engine.ts';
import { computeProgram } from '../../programs.ts';
import { CpuDevice } from '../cpu/cpu-device.ts';
import { CpuSessions } from '../cpu/cpu-sessions.ts';
import { openBackend } from './tensorflow-backend.ts';
import { TensorflowDevice } from './tensorflow-device.ts';

const skip = await findTensorflowSkipReason();

/** Pairs whose reference differs from the policy, so that no log-ratio is 0. */
const makePairs = (count: number): TrainPair[] =>
  Array.from({ length: count }, (_, i) => {
    const [chosen, rejected] = [makeSequence(2 * i), makeSequence(2 * i + 1)];
    const refLogps = ({ responseIds }: Sequence) =>
      Float32Array.from(responseIds, (_, j) => -5.7 + 0.3 * Math.sin(i + j));
    return { chosen, rejected, refChosenLogps: refLogps(chosen), refRejectedLogps: refLogps(rejected) };
  });

/** Runs `step` on the same inputs traced on ONNX Runtime and eagerly on TensorFlow, and compares all outputs. */
async function assertSameGradients(a: Architecture, request: ObjectiveInput): Promise<void> {
  const objective = parseObjective(request);
  const pairs = makePairs(2);
  const sequences = [...pairs.map(({ chosen }) => chosen), ...pairs.map(({ rejected }) => rejected)];
  const batch = packSequences(sequences, { reduction: objective.reduction });
  const { R } = batch.bucket;
  const inputs: InputArrays = new Map([...tinyWeights(a, 3), ...batch.arrays])
    .set('refLogps', { shape: [R], data: Float32Array.from({ length: R }, (_, i) => -5.7 + 0.3 * Math.sin(i)) })
    .set('importance', { shape: [4], data: Float32Array.from([1, 1, 0.7, 1.3]) })
    .set('rewardMargins', { shape: [2], data: new Float32Array(2) })
    .set('pairWeights', { shape: [2], data: Float32Array.from([0.25, 0.75]) });
  const sessions = new CpuSessions({ architecture: a, objective, threads: 2 });
  const traced = await sessions.run('step', batch.bucket, new Map([...inputs, ...zeroGradients(tinyWeights(a, 3))]));
  await sessions.close();

  await openBackend();
  const tensors = new Map(
    Array.from(inputs, ([name, { shape, data }]) => [
      name,
      tf.tensor(data, shape, data instanceof Int32Array ? 'int32' : 'float32'),
    ]),
  );
  const eager = computeProgram(a, objective, 'step', batch.bucket, tensors);
  assert.deepEqual([...eager.keys()].sort(), [...traced.keys()].sort());
  // Gradients that are 0 except for rounding, such as that of a key bias without rotary positions, have no scale of
  // their own.
  const gradientNorm = norm(Array.from(traced).flatMap(([name, data]) => (/^gradient/.test(name) ? [norm(data)] : [])));
  for (const [name, tensor] of eager) {
    const difference = relativeError(tensor.dataSync(), traced.get(name)!, gradientNorm / 100);
    assert.ok(difference < 1e-4, `${name}: ${difference}`);
  }
}

const REQUESTS: ObjectiveInput[] = [
  { objective: 'lsif', reduction: 'mean' },
  { objective: 'lsif', reduction: 'sum', cap: 0.5 },
  { objective: 'ukl', negatives: 'both' },
  { objective: 'bce', reduction: 'sum' },
  { objective: 'dpo', reduction: 'sum', beta: 0.5 },
  { objective: 'sft' },
];

for (const request of REQUESTS) {
  for (const tied of [true, false]) {
    test(
      `TensorFlow’s gradient of ${JSON.stringify(request)}, ${tied ? 'tied' : 'untied'}, equals that of the traced graph`,
      {
        skip,
      },
      () => assertSameGradients(tinyArchitecture({ ...SMALL_POLICY, tied }), request),
    );
  }
}

for (const family of ['qwen2', 'qwen3', 'gpt2', 'gpt_neox', 'gemma'] as const) {
  test(`TensorFlow’s gradient of a ${family} policy equals that of the traced graph`, { skip }, () =>
    assertSameGradients(tinyArchitecture({ ...SMALL_POLICY, hiddenSize: 32, kvHeads: undefined, family }), {}),
  );
}

/** An engine on each device, with micro-batches small enough that gradients are accumulated. */
async function openEngines(
  request: ObjectiveInput = {},
  lora?: LoraConfig,
  architecture = tinyArchitecture(SMALL_POLICY),
) {
  const objective = parseObjective(request);
  const options = { architecture, objective, lora, threads: 2 };
  const weights = tinyWeights(architecture, 4);
  const open = (device: Device) => {
    loadPolicy(device, weights, options);
    const optimizer = { ...DEFAULT_OPTIMIZER, weightDecay: 0.1 };
    return new DeviceEngine(device, { ...options, optimizer, microBatchTokens: 128 }, lora && weights);
  };
  const tensorflow = open(await TensorflowDevice.open(options));
  return { architecture, tensorflow, onnx: open(new CpuDevice(options)) };
}

for (const lora of [undefined, { rank: 2, alpha: 4, targets: ['q_proj'] }]) {
  test(`both engines train the same reward, ${lora ? 'with adapters' : 'all weights'}`, { skip }, async () => {
    const architecture = tinyArchitecture({ ...SMALL_POLICY, variant: { output: 'reward' } });
    const { tensorflow, onnx } = await openEngines({ objective: 'dpo', beta: 1, reduction: 'sum' }, lora, architecture);
    const pairs = makePairs(5).map((pair) => ({ ...pair, ...NO_REFERENCE }));
    for (const engine of [tensorflow, onnx]) for (let step = 0; step < 3; step++) await engine.step(pairs, 1e-2);
    const expected = await onnx.weights();
    for (const [name, { data }] of await tensorflow.weights())
      assert.ok(relativeError(data, expected.get(name)!.data) < 1e-4, name);
    const score = async (engine: DeviceEngine) =>
      (await engine.score(pairs.map(({ chosen }) => chosen))).map(([reward]) => reward!);
    assert.ok(relativeError(await score(tensorflow), await score(onnx)) < 1e-4);
    await tensorflow.close();
    await onnx.close();
  });
}

for (const lora of [undefined, { rank: 2, alpha: 4, targets: ['q_proj', 'down_proj'] }]) {
  test(`steps of both engines on ${lora ? 'adapters' : 'all weights'} give the same weights, with accumulation, clipping and weight decay`, {
    skip,
  }, async () => {
    const { tensorflow, onnx } = await openEngines({ objective: 'ukl' }, lora);
    const pairs = makePairs(5);
    for (let step = 0; step < 4; step++) {
      const [one, other] = [await tensorflow.step(pairs, 1e-3), await onnx.step(pairs, 1e-3)];
      assert.ok(lora || one.gradNorm > DEFAULT_OPTIMIZER.maxGradNorm);
      assert.ok(Math.abs(one.gradNorm / other.gradNorm - 1) < 1e-4, `${one.gradNorm} is not ${other.gradNorm}`);
      assert.ok(Math.abs(one.loss / other.loss - 1) < 1e-4, `${one.loss} is not ${other.loss}`);
    }
    const expected = await onnx.weights();
    for (const [name, { data }] of await tensorflow.weights()) {
      const difference = relativeError(data, expected.get(name)!.data);
      assert.ok(difference < 1e-4, `${name}: ${difference}`);
    }
    assert.ok(relativeError(await tensorflow.logits(makeTokens(3, 40)), await onnx.logits(makeTokens(3, 40))) < 1e-4);
    await tensorflow.close();
    await onnx.close();
  });
}

test('memory does not grow from step to step', { skip }, async () => {
  const before = tf.memory();
  const { tensorflow } = await openEngines();
  const pairs = makePairs(3);
  const counts: number[][] = [];
  for (let step = 0; step < 4; step++) {
    await tensorflow.step(pairs, 1e-3);
    await tensorflow.evaluate(pairs);
    await tensorflow.score([pairs[0]!.chosen]);
    await tensorflow.logits([1, 2, 3]);
    const { numTensors, numDataBuffers, numBytes } = tf.memory();
    counts.push([numTensors, numDataBuffers, numBytes]);
  }
  for (const count of counts) assert.deepEqual(count, counts[0]);
  await tensorflow.close();
  assert.equal(tf.memory().numTensors, before.numTensors);
});

test('a failed step and one with a gradient that is not finite leak no tensor and leave the weights unchanged', {
  skip,
}, async () => {
  const { tensorflow, architecture } = await openEngines();
  const pairs = makePairs(2);
  await tensorflow.step(pairs, 0);
  const before = { tensors: tf.memory().numTensors, weights: await tensorflow.weights() };
  const broken = { ...pairs[0]!, refChosenLogps: new Float32Array(pairs[0]!.refChosenLogps.length).fill(Number.NaN) };
  assert.ok(Number.isNaN((await tensorflow.step([broken], 1)).gradNorm));
  assert.equal(tf.memory().numTensors, before.tensors);
  for (const [name, { data }] of await tensorflow.weights()) assert.deepEqual(data, before.weights.get(name)!.data);
  await assert.rejects(tensorflow.logits([architecture.vocabSize]), /not in the vocabulary/);
  await tensorflow.close();
});

test('each engine resumes from a state that the other one saved', { skip }, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'attune-tensorflow-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const architecture = tinyArchitecture(SMALL_POLICY);
  const weights = tinyWeights(architecture, 4);
  const finalWeights: Float32Array[] = [];
  for (const [first, then] of [
    ['tensorflow', 'tensorflow'],
    ['tensorflow', 'onnx'],
    ['onnx', 'tensorflow'],
  ] as const) {
    const path = join(folder, `${first}.safetensors`);
    const start = await openEngine({ architecture, weights, objective: {}, engine: first });
    assert.equal(start.name, first);
    await start.step(makePairs(3), 1e-3);
    await start.save(path);
    await start.close();
    const end = await openEngine({ architecture, weights, objective: {}, engine: then });
    await end.restore(path);
    await end.step(makePairs(3), 1e-3);
    finalWeights.push((await end.weights()).get('model.layers.1.self_attn.q_proj.weight')!.data);
    await end.close();
  }
  assert.ok(relativeError(finalWeights[1]!, finalWeights[0]!) < 1e-4);
  assert.ok(relativeError(finalWeights[2]!, finalWeights[0]!) < 1e-4);
});

test('two engines compute in two threads at the same time', { skip }, async () => {
  const architecture = tinyArchitecture(SMALL_POLICY);
  const run = async () => {
    const weights = tinyWeights(architecture, 4);
    const engine = await openEngine({ architecture, weights, objective: {}, engine: 'tensorflow' });
    const losses = [];
    for (let step = 0; step < 10; step++) losses.push((await engine.step(makePairs(2), 1e-3)).loss);
    await engine.close();
    return losses;
  };
  const [one, other] = await Promise.all([run(), run()]);
  assert.ok(relativeError(one!, other!) < 1e-5, `${one} is not ${other}`);
});

test('without its library, ENGINE=tensorflow is rejected with the install command, and auto uses onnx', async () => {
  const { XDG_CACHE_HOME } = process.env;
  process.env.XDG_CACHE_HOME = '/nowhere';
  try {
    const architecture = tinyArchitecture(SMALL_POLICY);
    const options = { architecture, weights: tinyWeights(architecture), objective: {} };
    await assert.rejects(openEngine({ ...options, engine: 'tensorflow' }), /npx attune tensorflow install/);
    const engine = await openEngine({ ...options, engine: 'auto' });
    assert.equal(engine.name, 'onnx');
    await engine.close();
  } finally {
    if (XDG_CACHE_HOME === undefined) delete process.env.XDG_CACHE_HOME;
    else process.env.XDG_CACHE_HOME = XDG_CACHE_HOME;
  }
});
