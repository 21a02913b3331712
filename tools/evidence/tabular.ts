// Policies over the three answers, as softmax(θ), and what is asked of them.
import * as tf from '@tensorflow/tfjs-core';
import { LOG_REFERENCE, normalize, REFERENCE } from './world.ts';

/** log Σ π_ref e^r */
export function logPartition(r: tf.Tensor1D): tf.Scalar {
  return tf.logSumExp(tf.add(r, tf.tensor1d(LOG_REFERENCE)));
}

/** KL(softmax(θ) ‖ q) */
export function divergenceFrom(theta: tf.Tensor, q: number[]): tf.Scalar {
  const logs = tf.logSoftmax(theta);
  return tf.sum(tf.mul(tf.exp(logs), tf.sub(logs, tf.tensor1d(q.map(Math.log)))));
}

/** The mean of x [3] under softmax(θ). */
export function mean(theta: tf.Tensor, x: tf.Tensor1D): tf.Scalar {
  return tf.sum(tf.mul(tf.softmax(theta), x));
}

export function tilt(reward: number[]): number[] {
  return normalize(REFERENCE.map((p, i) => p * Math.exp(reward[i]!)));
}

export function softmax(theta: number[]): number[] {
  return normalize(theta.map((x) => Math.exp(x - Math.max(...theta))));
}
