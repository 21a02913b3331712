// From token log-probabilities to the loss of a batch of pairs, in tfjs. A batch holds 2P sequences: P chosen ones,
// then their P rejected ones. Its R response positions are one flat list; `rows` says which sequence each belongs to.
// tfjs-core keeps its gradients out of its own entry; this registers them.
import '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs-core';
import type { Architecture } from '../../shared/policy/architecture.ts';
import { type Constants, type Parameters, tokenLogps } from '../model/decoder.ts';
import { cappedShares, type ObjectiveSettings, type PairRatios, pairLosses } from '../objectives.ts';

export type PairBatch = {
  ids: tf.Tensor2D; // [2P, T]
  positions: tf.Tensor1D; // [R]
  targets: tf.Tensor1D; // [R]
  rows: tf.Tensor1D; // [R]
  /** What each token counts in its response: 1, or one over the length; 0 for padding. [R] */
  weights: tf.Tensor1D;
  refs: tf.Tensor1D; // [R]
  /** What each pair counts in the loss; 0 for padding. [P] */
  shares: tf.Tensor1D;
};

export type PairOutputs = {
  loss: tf.Scalar;
  losses: tf.Tensor1D; // [P]
  capped: tf.Tensor1D; // [P]
  logps: tf.Tensor1D; // [R]
};

/** Loss and outputs of a batch; the loss is Σ shares · losses. */
export function pairOutputs(
  a: Architecture,
  objective: ObjectiveSettings,
  parameters: Parameters,
  constants: Constants,
  batch: PairBatch,
): PairOutputs {
  const logps = tokenLogps(a, parameters, constants, batch);
  const ratios = reduceToPairs(logps, batch);
  const losses = pairLosses(objective, ratios);
  return {
    loss: tf.sum(tf.mul(losses, batch.shares)),
    losses,
    capped: cappedShares(objective, ratios),
    logps,
  };
}

/** The same with the gradient of the loss by parameter name. */
export function pairGradients(
  a: Architecture,
  objective: ObjectiveSettings,
  parameters: Parameters,
  constants: Constants,
  batch: PairBatch,
): PairOutputs & { gradients: Map<string, tf.Tensor> } {
  const names = [...parameters.keys()];
  let outputs: PairOutputs | undefined;
  const differentiate = tf.valueAndGrads((...tensors: tf.Tensor[]) => {
    outputs = pairOutputs(a, objective, new Map(names.map((name, i) => [name, tensors[i]!])), constants, batch);
    // tfjs frees what a differentiated function does not return.
    for (const tensor of Object.values(outputs)) tf.keep(tensor);
    return outputs.loss;
  });
  const { grads } = differentiate([...parameters.values()]);
  return { ...outputs!, gradients: new Map(names.map((name, i) => [name, grads[i]!])) };
}

function reduceToPairs(logps: tf.Tensor1D, batch: PairBatch): PairRatios {
  const S = batch.ids.shape[0];
  const P = S / 2;
  const R = logps.shape[0];
  const mine = tf.equal(tf.expandDims(tf.range(0, S, 1, 'int32'), 1), tf.expandDims(batch.rows, 0)); // [S, R]
  const shares: tf.Tensor2D = tf.mul(tf.cast(mine, 'float32'), tf.expandDims(batch.weights, 0)); // [S, R]
  const reduce = (perToken: tf.Tensor1D): tf.Tensor1D =>
    tf.reshape(tf.matMul(shares, tf.reshape(perToken, [R, 1]) as tf.Tensor2D), [S]); // [S, 1] → [S]
  const ratios = reduce(tf.sub(logps, batch.refs));
  return {
    chosen: tf.slice(ratios, [0], [P]),
    rejected: tf.slice(ratios, [P], [P]),
    chosenLogps: tf.slice(reduce(logps), [0], [P]),
  };
}
