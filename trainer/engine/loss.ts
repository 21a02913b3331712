// From token log-probabilities to the loss of a batch of P pairs, in tfjs:
//   f(y|x) = Σ_t w_t · (log π_θ(y_t|x, y_<t) − log π_ref(y_t|x, y_<t))   w_t = 1 or 1/|y|, by REDUCTION
//   loss   = Σ_p v_p · ℓ(f(y_chosen), f(y_rejected))                   v_p = weight of p / sum of the step's, ℓ in objectives.ts
// A batch holds 2P responses: the P chosen ones, then the P rejected ones. Their R tokens are one flat list, in which
// `responseIndices` names the response of each token.
//
// A reward (architecture.output) takes the place of the log-ratio: f(y|x) = r(x, y), whose one "token" is the end of the
// response, with a reference of 0.

// Registers tfjs's gradients, which tfjs-core leaves out.
import '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs-core';
import type { Architecture } from '../../shared/model/architecture.ts';
import { type BatchConstants, type PackedTokens, responseRewards, tokenLogps } from '../model/decoder.ts';
import type { Parameters } from '../model/parameters.ts';
import { cappedShares, type ObjectiveSettings, type PairRatios, pairLosses } from '../objectives.ts';

export type ResponseBatch = PackedTokens & {
  /** Index in the flat [S·T] tokens of the position whose logits predict each response token. [R] */
  logitPositions: tf.Tensor1D;
  /** Response tokens. [R] */
  targetIds: tf.Tensor1D;
};

export type PairBatch = ResponseBatch & {
  /** The response of each token, 0 … 2P−1. [R] */
  responseIndices: tf.Tensor1D;
  /** The completion mask, for mean reduction divided by the length of the response. [R] */
  tokenWeights: tf.Tensor1D;
  /** log π_ref of each response token. [R] */
  refLogps: tf.Tensor1D;
  /** Importance weight of each response as a sample of the reference. [2P] */
  importance: tf.Tensor1D;
  /** r(x, y_chosen) − r(x, y_rejected) of each pair, for distill. [P] */
  rewardMargins: tf.Tensor1D;
  /** Weight of each pair in the loss; 0 for padding. [P] */
  pairWeights: tf.Tensor1D;
};

export type PairOutputs = {
  loss: tf.Scalar;
  losses: tf.Tensor1D; // [P]
  capped: tf.Tensor1D; // [P]
  logps: tf.Tensor1D; // [R]
};

/** log π_θ of each response token; of a reward, the reward of each response. [R] */
export function computeScores(
  a: Architecture,
  parameters: Parameters,
  constants: BatchConstants,
  batch: ResponseBatch,
): tf.Tensor1D {
  const compute = a.output === 'reward' ? responseRewards : tokenLogps;
  return compute(a, parameters, constants, batch);
}

/** Forward pass: the loss Σ pairWeights · losses, and its parts. */
export function computePairLosses(
  a: Architecture,
  objective: ObjectiveSettings,
  parameters: Parameters,
  constants: BatchConstants,
  batch: PairBatch,
): PairOutputs {
  const logps = computeScores(a, parameters, constants, batch);
  const ratios = reduceToLogRatios(logps, batch);
  const losses = pairLosses(objective, ratios);
  return {
    loss: tf.sum(tf.mul(losses, batch.pairWeights)),
    losses,
    capped: cappedShares(objective, ratios),
    logps,
  };
}

/** Forward and backward pass: adds the gradient of the loss with respect to the parameters in `names`. */
export function computePairGradients(
  a: Architecture,
  objective: ObjectiveSettings,
  parameters: Parameters,
  constants: BatchConstants,
  batch: PairBatch,
  names: string[] = [...parameters.keys()],
): PairOutputs & { gradients: Map<string, tf.Tensor> } {
  let outputs: PairOutputs | undefined;
  const differentiate = tf.valueAndGrads((...tensors: tf.Tensor[]) => {
    const all = new Map(parameters);
    for (const [i, name] of names.entries()) all.set(name, tensors[i]!);
    outputs = computePairLosses(a, objective, all, constants, batch);
    // tfjs frees every tensor that a differentiated function does not return.
    for (const tensor of Object.values(outputs)) if (tensor !== outputs.loss) tf.keep(tensor);
    return outputs.loss;
  });
  const { grads } = differentiate(names.map((name) => parameters.get(name)!));
  return { ...outputs!, gradients: new Map(names.map((name, i) => [name, grads[i]!])) };
}

/** logps [R] → log-ratios and log-probabilities [P] of the chosen and rejected responses */
function reduceToLogRatios(logps: tf.Tensor1D, batch: PairBatch): PairRatios {
  const P = batch.pairWeights.shape[0];
  const R = logps.shape[0];
  const isOfResponse = tf.equal(
    tf.expandDims(tf.range(0, 2 * P, 1, 'int32'), 1), // [2P, 1]
    tf.expandDims(batch.responseIndices, 0), // [1, R]
  ); // [2P, R]
  const weights: tf.Tensor2D = tf.mul(tf.cast(isOfResponse, 'float32'), tf.expandDims(batch.tokenWeights, 0)); // [2P, R]
  const reduce = (perToken: tf.Tensor1D): tf.Tensor1D =>
    tf.reshape(tf.matMul(weights, tf.reshape(perToken, [R, 1]) as tf.Tensor2D), [2 * P]); // [2P, 1] → [2P]
  const ofChosen = (x: tf.Tensor1D): tf.Tensor1D => tf.slice(x, [0], [P]);
  const ofRejected = (x: tf.Tensor1D): tf.Tensor1D => tf.slice(x, [P], [P]);
  const logRatios = reduce(tf.sub(logps, batch.refLogps));
  return {
    chosen: ofChosen(logRatios),
    rejected: ofRejected(logRatios),
    chosenLogps: ofChosen(reduce(logps)),
    chosenImportance: ofChosen(batch.importance),
    rejectedImportance: ofRejected(batch.importance),
    rewardMargins: batch.rewardMargins,
  };
}
