// Gradients of each family's decoder: traced and run by ONNX Runtime, and on tfjs's own backend, against finite differences
// of the double-precision model.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import '@tensorflow/tfjs-backend-cpu';
import '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs-core';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import type { Architecture } from '../../shared/model/architecture.ts';
import type { Weights } from '../../shared/model/safetensors.ts';
import { GOLDEN_CASES, readGoldens } from '../../testing/golden.ts';
import { plainLogps } from '../../testing/reference-decoder.ts';
import { tinyArchitecture, tinyWeights } from '../../testing/tiny-checkpoint.ts';
import { trace } from '../engine/trace/trace.ts';
import { makeConstants, tokenLogps } from './decoder.ts';

before(async () => {
  await tf.setBackend('cpu');
  // Its first tensor advertises another backend, unless under test; but then it takes saved tensors for leaks.
  tf.env().set('IS_TEST', true);
  tf.scalar(0).dispose();
  tf.env().set('IS_TEST', false);
});

const { ids } = readGoldens();

/** Two sequences in one row, and padding after them. */
const first = ids.slice(0, 8);
const second = ids.slice(8, 14);
const T = 16;
const fill = (values: number[]) => Int32Array.from({ length: T }, (_, i) => values[i] ?? 0);
const segments = fill([...first.map(() => 1), ...second.map(() => 2)]);
const row = {
  ids: fill([...first, ...second]),
  positionIds: fill([...first.keys(), ...second.keys()]),
  segments,
  parents: segments,
};
const places = {
  positions: Int32Array.from([...first.keys()].slice(0, -1).concat([...second.keys()].slice(0, -1).map((i) => i + 8))),
  targets: Int32Array.from([...first.slice(1), ...second.slice(1)]),
};
const R = places.targets.length;
/** What each log-probability counts in the loss, so that no two are alike. */
const factors = Float32Array.from({ length: R }, (_, j) => Math.sin(1 + 2.3 * j));

function gradients(a: Architecture, tensors: ReadonlyMap<string, tf.Tensor>, names: string[]): tf.Tensor[] {
  const take = <T extends tf.Tensor>(name: string) => tensors.get(name) as T;
  const [idsIn, positionIds, seg, parents] = ['ids', 'positionIds', 'segments', 'parents'].map(take<tf.Tensor2D>);
  const constants = makeConstants(a, { ids: idsIn!, positionIds: positionIds!, segments: seg!, parents: parents! });
  const batch = { ids: idsIn!, positions: take<tf.Tensor1D>('positions'), targets: take<tf.Tensor1D>('targets') };
  const differentiate = tf.grads((...given: tf.Tensor[]) => {
    const parameters = new Map(names.map((name, i) => [name, given[i]!]));
    return tf.sum(tf.mul(tokenLogps(a, parameters, constants, batch), take('factors')));
  });
  return differentiate(names.map((name) => tensors.get(name)!));
}

function inputsOf(weights: Weights): Map<string, { shape: number[]; data: Float32Array | Int32Array }> {
  const inputs = new Map<string, { shape: number[]; data: Float32Array | Int32Array }>(weights);
  for (const [name, data] of Object.entries(row)) inputs.set(name, { shape: [1, T], data });
  for (const [name, data] of Object.entries({ ...places, factors })) inputs.set(name, { shape: [R], data });
  return inputs;
}

const typeOf = (data: Float32Array | Int32Array) => (data instanceof Int32Array ? 'int32' : 'float32');

/** By ONNX Runtime, from the traced graph. */
async function tracedGradients(a: Architecture, weights: Weights): Promise<Float32Array[]> {
  const names = [...weights.keys()];
  const inputs = inputsOf(weights);
  const specs = Array.from(inputs, ([name, { shape, data }]) => [name, { shape, type: typeOf(data) }] as const);
  const program = trace(new Map(specs), (tensors) => {
    const found = gradients(a, tensors, names);
    return new Map(names.map((name, i) => [`gradient.${name}`, found[i]!]));
  });
  const session = await InferenceSession.create(program.bytes, { logSeverityLevel: 3 });
  const feeds: Record<string, Tensor> = {};
  for (const name of program.inputs) {
    const { shape, data } = inputs.get(name)!;
    feeds[name] = data instanceof Int32Array ? new Tensor('int32', data, shape) : new Tensor('float32', data, shape);
  }
  const outputs = await session.run(feeds);
  await session.release();
  return names.map((name) => outputs[`gradient.${name}`]!.data as Float32Array);
}

function plainLoss(a: Architecture, weights: Weights): number {
  const logps = [first, second].flatMap((sequence) => plainLogps(a, weights, sequence.slice(0, 1), sequence.slice(1)));
  return logps.reduce((sum, logp, j) => sum + logp * factors[j]!, 0);
}

for (const [name, options] of Object.entries(GOLDEN_CASES)) {
  test(`${name}: gradients are finite differences, traced and on tfjs's own backend`, async () => {
    const a = tinyArchitecture({ ...options, layers: 1 });
    const weights = tinyWeights(a, 5);
    const names = [...weights.keys()];
    const traced = await tracedGradients(a, weights);
    const eager = tf.tidy(() => {
      const tensors = Array.from(
        inputsOf(weights),
        ([own, { shape, data }]) => [own, tf.tensor(data, shape, typeOf(data))] as const,
      );
      return gradients(a, new Map(tensors), names).map((gradient) => gradient.dataSync() as Float32Array);
    });
    for (const [i, parameter] of names.entries()) {
      const gradient = traced[i]!;
      const largest = gradient.reduce((most, slope) => Math.max(most, Math.abs(slope)), 0);
      for (const [at, slope] of gradient.entries())
        assert.ok(Math.abs(slope - eager[i]![at]!) < 1e-4 * largest + 1e-6, `${parameter} at ${at}`);

      const { shape, data } = weights.get(parameter)!;
      const steepest = gradient.findIndex((slope) => Math.abs(slope) === largest);
      const lossAt = (value: number) => {
        const moved = data.slice();
        moved[steepest] = value;
        // float32 rounds the shift, so it is read back.
        return { at: moved[steepest]!, loss: plainLoss(a, new Map(weights).set(parameter, { shape, data: moved })) };
      };
      const up = lossAt(data[steepest]! + 1e-3);
      const down = lossAt(data[steepest]! - 1e-3);
      const slope = (up.loss - down.loss) / (up.at - down.at);
      const found = gradient[steepest]!;
      assert.ok(Math.abs(found - slope) < 1e-3 * Math.abs(slope) + 1e-5, `${parameter}: ${found} is not ${slope}`);
    }
  });
}
