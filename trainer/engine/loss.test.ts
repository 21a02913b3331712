import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import type { Architecture } from '../../shared/model/architecture.ts';
import type { Weights } from '../../shared/model/tensor.ts';
import { referenceLogps } from '../../testing/reference-decoder.ts';
import { tinyArchitecture, tinyWeights } from '../../testing/tiny-checkpoint.ts';
import { makeTokens, relativeError, SMALL_POLICY, useCpuBackend, zeroGradients } from '../../testing/training.ts';
import { createConstants } from '../model/decoder.ts';
import { type ObjectiveInput, type ObjectiveSettings, parseObjective } from '../objectives.ts';
import { type InputArrays, packSequences } from './batch.ts';
import { CpuSessions } from './devices/cpu/cpu-sessions.ts';
import { computePairGradients, type PairBatch } from './loss.ts';
import { gradientName } from './programs.ts';

before(useCpuBackend);

const sequences = [
  { promptIds: makeTokens(1, 5), responseIds: makeTokens(2, 9) },
  { promptIds: makeTokens(3, 4), responseIds: makeTokens(4, 3) },
  { promptIds: makeTokens(1, 5), responseIds: makeTokens(5, 6) },
  { promptIds: makeTokens(3, 4), responseIds: makeTokens(6, 11) },
];

/** Two pairs whose reference log-probabilities are near the policy's, so that no log-ratio is extreme. */
function makeInputs(a: Architecture, weights: Weights, reduction: 'mean' | 'sum') {
  const batch = packSequences(sequences, { reduction });
  const { R } = batch.bucket;
  const refLogps = new Float32Array(R);
  for (const [row, { promptIds, responseIds }] of sequences.entries())
    for (const [j, logp] of referenceLogps(a, weights, promptIds, responseIds).entries())
      refLogps[batch.responseStarts[row]! + j] = logp + 0.3 * Math.sin(row * 5 + j * 1.7);
  const inputs: InputArrays = new Map([...weights, ...batch.arrays])
    .set('refLogps', { shape: [R], data: refLogps })
    .set('importance', { shape: [4], data: Float32Array.from([1, 1, 0.7, 1.3]) })
    .set('rewardMargins', { shape: [2], data: Float32Array.from([0.8, -0.3]) })
    .set('pairWeights', { shape: [2], data: Float32Array.from([0.25, 0.75]) });
  return { batch, inputs, refLogps };
}

async function tracedGradients(a: Architecture, request: ObjectiveInput, weights: Weights) {
  const objective = parseObjective(request);
  const { batch, inputs, refLogps } = makeInputs(a, weights, objective.reduction);
  const sessions = new CpuSessions({ architecture: a, objective, threads: 2 });
  const outputs = await sessions.run('step', batch.bucket, new Map([...inputs, ...zeroGradients(weights)]));
  await sessions.close();
  return { outputs, batch, inputs, refLogps, objective };
}

const REQUESTS: ObjectiveInput[] = [
  { objective: 'lsif', reduction: 'mean' },
  { objective: 'lsif', reduction: 'sum', cap: 0.5 },
  { objective: 'ukl', reduction: 'mean', negatives: 'both' },
  { objective: 'bce', reduction: 'sum' },
  { objective: 'dpo', reduction: 'sum', beta: 0.5 },
  { objective: 'sft', reduction: 'mean' },
  { objective: 'distill', reduction: 'sum', beta: 0.5 },
];

for (const [i, request] of REQUESTS.entries()) {
  const tied = i % 2 === 0;
  test(`the traced gradient of ${JSON.stringify(request)}, ${tied ? 'tied' : 'untied'}, equals that of tfjs's cpu backend`, async () => {
    const a = tinyArchitecture({ ...SMALL_POLICY, tied });
    const weights = tinyWeights(a, 3);
    const { outputs, inputs, objective } = await tracedGradients(a, request, weights);
    const eager = new Map(
      Array.from(inputs, ([name, { shape, data }]) => [
        name,
        tf.tensor(data, shape, data instanceof Int32Array ? 'int32' : 'float32'),
      ]),
    );
    const parameters = new Map(Array.from(weights.keys(), (name) => [name, eager.get(name)!]));
    const tensors = Object.fromEntries(eager) as unknown as PairBatch;
    const constants = createConstants(a, tensors);
    const expected = computePairGradients(a, objective, parameters, constants, tensors);
    assert.ok(relativeError(outputs.get('losses')!, expected.losses.dataSync()) < 1e-4);
    for (const [name, gradient] of expected.gradients) {
      const difference = relativeError(outputs.get(gradientName(name))!, gradient.dataSync());
      assert.ok(difference < 1e-4, `${name}: ${difference}`);
    }
  });
}

/** The loss in double precision, written a second time from the formulas. */
function referenceLoss(
  a: Architecture,
  weights: Weights,
  refLogps: Float32Array,
  starts: (number | null)[],
  { objective, reduction, beta }: ObjectiveSettings,
): number {
  const ratios = sequences.map(({ promptIds, responseIds }, row) => {
    const logps = referenceLogps(a, weights, promptIds, responseIds);
    const sum = logps.reduce((sum, logp, j) => sum + logp - refLogps[starts[row]! + j]!, 0);
    return (beta * sum) / (reduction === 'mean' ? logps.length : 1);
  });
  const pairLoss = (w: number, l: number, importance: number) =>
    objective === 'lsif'
      ? -Math.exp(w) + importance * 0.5 * Math.exp(2 * l)
      : Math.log1p(Math.exp(-w)) + importance * Math.log1p(Math.exp(l));
  return 0.25 * pairLoss(ratios[0]!, ratios[2]!, 0.7) + 0.75 * pairLoss(ratios[1]!, ratios[3]!, 1.3);
}

for (const request of [
  { objective: 'lsif', reduction: 'mean' },
  { objective: 'bce', reduction: 'sum' },
] as const) {
  test(`the gradient of ${request.objective}, ${request.reduction}, equals finite differences of the double-precision reference`, async () => {
    const a = tinyArchitecture(SMALL_POLICY);
    const weights = tinyWeights(a, 5);
    const { outputs, batch, refLogps, objective } = await tracedGradients(a, request, weights);
    for (const [name, tensor] of weights) {
      const gradient = outputs.get(gradientName(name))!;
      const steepest = gradient.reduce((best, slope, i) => (Math.abs(slope) > Math.abs(gradient[best]!) ? i : best), 0);
      const lossAt = (value: number) => {
        const moved = new Map(weights).set(name, { shape: tensor.shape, data: tensor.data.slice() });
        moved.get(name)!.data[steepest] = value;
        // float32 rounds the shifted value, so it is read back.
        const at = moved.get(name)!.data[steepest]!;
        return { at, loss: referenceLoss(a, moved, refLogps, batch.responseStarts, objective) };
      };
      const up = lossAt(tensor.data[steepest]! + 1e-3);
      const down = lossAt(tensor.data[steepest]! - 1e-3);
      const slope = (up.loss - down.loss) / (up.at - down.at);
      assert.ok(
        Math.abs(gradient[steepest]! - slope) < 1e-3 * Math.abs(slope) + 1e-6,
        `${name}: ${gradient[steepest]} is not ${slope}`,
      );
    }
  });
}
