// From token log-probabilities to the loss of a batch of pairs, in tfjs. A batch of P pairs holds 2P responses: the P
// chosen ones, then their P rejected ones, wherever their tokens lie in its rows. Its R response positions are one flat
// list; `owners` says which response each belongs to.
// tfjs-core keeps its gradients out of its own entry; this registers them.
import '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs-core';
import type { Architecture } from '../../shared/model/architecture.ts';
import { type Constants, type Rows, tokenLogps } from '../model/decoder.ts';
import type { Parameters } from '../model/parameters.ts';
import { cappedShares, type ObjectiveSettings, type PairRatios, pairLosses } from '../objectives.ts';

export type ResponseBatch = Rows & {
  positions: tf.Tensor1D; // [R]
  targets: tf.Tensor1D; // [R]
};

export type PairBatch = ResponseBatch & {
  owners: tf.Tensor1D; // [R]
  /** What each token counts in its response: 1, or one over the length; 0 for padding. [R] */
  weights: tf.Tensor1D;
  refs: tf.Tensor1D; // [R]
  /** What each response counts as a sample of the reference. [2P] */
  importance: tf.Tensor1D;
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

/** The same with the gradient of the loss by parameter name, of those that are trained. */
export function pairGradients(
  a: Architecture,
  objective: ObjectiveSettings,
  parameters: Parameters,
  constants: Constants,
  batch: PairBatch,
  names: string[] = [...parameters.keys()],
): PairOutputs & { gradients: Map<string, tf.Tensor> } {
  let outputs: PairOutputs | undefined;
  const differentiate = tf.valueAndGrads((...tensors: tf.Tensor[]) => {
    const all = new Map(parameters);
    for (const [i, name] of names.entries()) all.set(name, tensors[i]!);
    outputs = pairOutputs(a, objective, all, constants, batch);
    // tfjs frees what a differentiated function does not return.
    for (const tensor of Object.values(outputs)) if (tensor !== outputs.loss) tf.keep(tensor);
    return outputs.loss;
  });
  const { grads } = differentiate(names.map((name) => parameters.get(name)!));
  return { ...outputs!, gradients: new Map(names.map((name, i) => [name, grads[i]!])) };
}

function reduceToPairs(logps: tf.Tensor1D, batch: PairBatch): PairRatios {
  const P = batch.shares.shape[0];
  const R = logps.shape[0];
  const mine = tf.equal(tf.expandDims(tf.range(0, 2 * P, 1, 'int32'), 1), tf.expandDims(batch.owners, 0)); // [2P, R]
  const shares: tf.Tensor2D = tf.mul(tf.cast(mine, 'float32'), tf.expandDims(batch.weights, 0)); // [2P, R]
  const reduce = (perToken: tf.Tensor1D): tf.Tensor1D =>
    tf.reshape(tf.matMul(shares, tf.reshape(perToken, [R, 1]) as tf.Tensor2D), [2 * P]); // [2P, 1] → [2P]
  const ofChosen = (x: tf.Tensor1D): tf.Tensor1D => tf.slice(x, [0], [P]);
  const ofRejected = (x: tf.Tensor1D): tf.Tensor1D => tf.slice(x, [P], [P]);
  const ratios = reduce(tf.sub(logps, batch.refs));
  return {
    chosen: ofChosen(ratios),
    rejected: ofRejected(ratios),
    chosenLogps: ofChosen(reduce(logps)),
    chosenImportance: ofChosen(batch.importance),
    rejectedImportance: ofRejected(batch.importance),
  };
}
