// Gradients of each family's decoder, traced and run by ONNX Runtime and eagerly on tfjs's cpu backend, against finite
// differences of the double-precision reference.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs-core';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import type { Architecture } from '../../shared/model/architecture.ts';
import type { Weights } from '../../shared/model/tensor.ts';
import { GOLDEN_CASES, readGoldens } from '../../testing/golden.ts';
import { referenceLogps } from '../../testing/reference-decoder.ts';
import { tinyArchitecture, tinyWeights } from '../../testing/tiny-checkpoint.ts';
import { useCpuBackend } from '../../testing/training.ts';
import { trace } from '../engine/trace/trace.ts';
import { createConstants, type PackedTokens, tokenLogps } from './decoder.ts';

before(useCpuBackend);

const { ids } = readGoldens();

/** Two sequences in one row, followed by padding. */
const first = ids.slice(0, 8);
const second = ids.slice(8, 14);
const T = 16;
const fill = (values: number[]) => Int32Array.from({ length: T }, (_, i) => values[i] ?? 0);
const segmentIds = fill([...first.map(() => 1), ...second.map(() => 2)]);
const row = {
  inputIds: fill([...first, ...second]),
  positionIds: fill([...first.keys(), ...second.keys()]),
  segmentIds,
  parentSegmentIds: segmentIds,
};
const responses = {
  logitPositions: Int32Array.from(
    [...first.keys()].slice(0, -1).concat([...second.keys()].slice(0, -1).map((i) => i + 8)),
  ),
  targetIds: Int32Array.from([...first.slice(1), ...second.slice(1)]),
};
const R = responses.targetIds.length;
/** The weight of each log-probability in the loss; no two are equal. */
const factors = Float32Array.from({ length: R }, (_, j) => Math.sin(1 + 2.3 * j));

function gradients(a: Architecture, tensors: ReadonlyMap<string, tf.Tensor>, names: string[]): tf.Tensor[] {
  const batch = Object.fromEntries(tensors) as unknown as PackedTokens & {
    logitPositions: tf.Tensor1D;
    targetIds: tf.Tensor1D;
    factors: tf.Tensor1D;
  };
  const constants = createConstants(a, batch);
  const differentiate = tf.grads((...values: tf.Tensor[]) => {
    const parameters = new Map(names.map((name, i) => [name, values[i]!]));
    return tf.sum(tf.mul(tokenLogps(a, parameters, constants, batch), batch.factors));
  });
  return differentiate(names.map((name) => tensors.get(name)!));
}

function inputsOf(weights: Weights): Map<string, { shape: number[]; data: Float32Array | Int32Array }> {
  const inputs = new Map<string, { shape: number[]; data: Float32Array | Int32Array }>(weights);
  for (const [name, data] of Object.entries(row)) inputs.set(name, { shape: [1, T], data });
  for (const [name, data] of Object.entries({ ...responses, factors })) inputs.set(name, { shape: [R], data });
  return inputs;
}

const typeOf = (data: Float32Array | Int32Array) => (data instanceof Int32Array ? 'int32' : 'float32');

/** Gradients computed by ONNX Runtime from the traced graph. */
async function tracedGradients(a: Architecture, weights: Weights): Promise<Float32Array[]> {
  const names = [...weights.keys()];
  const inputs = inputsOf(weights);
  const specs = Array.from(inputs, ([name, { shape, data }]) => [name, { shape, type: typeOf(data) }] as const);
  const program = trace(new Map(specs), (tensors) => {
    const computed = gradients(a, tensors, names);
    return new Map(names.map((name, i) => [`gradient.${name}`, computed[i]!]));
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

function referenceLoss(a: Architecture, weights: Weights): number {
  const logps = [first, second].flatMap((sequence) =>
    referenceLogps(a, weights, sequence.slice(0, 1), sequence.slice(1)),
  );
  return logps.reduce((sum, logp, j) => sum + logp * factors[j]!, 0);
}

for (const [name, options] of Object.entries(GOLDEN_CASES)) {
  test(`${name}: traced and eager gradients equal finite differences`, async () => {
    const a = tinyArchitecture({ ...options, layers: 1 });
    const weights = tinyWeights(a, 5);
    const names = [...weights.keys()];
    const traced = await tracedGradients(a, weights);
    const eager = tf.tidy(() => {
      const tensors = Array.from(
        inputsOf(weights),
        ([input, { shape, data }]) => [input, tf.tensor(data, shape, typeOf(data))] as const,
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
        // float32 rounds the shifted value, so it is read back.
        return {
          at: moved[steepest]!,
          loss: referenceLoss(a, new Map(weights).set(parameter, { shape, data: moved })),
        };
      };
      const up = lossAt(data[steepest]! + 1e-3);
      const down = lossAt(data[steepest]! - 1e-3);
      const slope = (up.loss - down.loss) / (up.at - down.at);
      const actual = gradient[steepest]!;
      assert.ok(Math.abs(actual - slope) < 1e-3 * Math.abs(slope) + 1e-5, `${parameter}: ${actual} is not ${slope}`);
    }
  });
}
