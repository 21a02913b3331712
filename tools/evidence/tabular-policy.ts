// Tabular policies over three responses, softmax(θ) with θ [3].
import * as tf from '@tensorflow/tfjs-core';
import { LOG_REFERENCE, normalize, REFERENCE } from './toy-problem.ts';

/** log Σ π_ref e^r */
export function logPartition(r: tf.Tensor1D): tf.Scalar {
  return tf.logSumExp(tf.add(r, tf.tensor1d(LOG_REFERENCE)));
}

/** KL(softmax(θ) ‖ q) */
export function divergenceFrom(theta: tf.Tensor, q: number[]): tf.Scalar {
  const logs = tf.logSoftmax(theta);
  return tf.sum(tf.mul(tf.exp(logs), tf.sub(logs, tf.tensor1d(q.map(Math.log)))));
}

/** E[x] under softmax(θ), x [3]. */
export function expectation(theta: tf.Tensor, x: tf.Tensor1D): tf.Scalar {
  return tf.sum(tf.mul(tf.softmax(theta), x));
}

/** π_ref e^r, normalised. */
export function tilt(reward: number[]): number[] {
  return normalize(REFERENCE.map((p, i) => p * Math.exp(reward[i]!)));
}

export function softmax(theta: number[]): number[] {
  return normalize(theta.map((x) => Math.exp(x - Math.max(...theta))));
}
