// The output layer and the log-softmax as one operation with its own gradient. [R, V] is by far the largest thing in
// training, so there is never a second one: the gradient P − onehot is P with one element per row overwritten.
import * as tf from '@tensorflow/tfjs-core';

/** hidden [R, d], table [V, d], targets [R], order = 0 … R−1 (made outside of tf.grads) → log-probabilities [R] */
export function targetLogps(
  hidden: tf.Tensor2D,
  table: tf.Tensor2D,
  targets: tf.Tensor1D,
  order: tf.Tensor1D,
): tf.Tensor1D {
  return tf.customGrad((...args) => {
    const [hidden, table, save] = args as unknown as [tf.Tensor2D, tf.Tensor2D, tf.GradSaveFunc];
    const all = tf.logSoftmax(tf.matMul(hidden, table, false, true)); // [R, V]
    const column = tf.gather(all, tf.expandDims(targets, 1), 1, 1); // [R, 1]
    const value: tf.Tensor1D = tf.squeeze(column, [1]);
    save([hidden, table, value, all]);
    return {
      value,
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const [hidden, table, value, all] = saved as [tf.Tensor2D, tf.Tensor2D, tf.Tensor1D, tf.Tensor2D];
        const where: tf.Tensor2D = tf.stack([order, targets], 1) as tf.Tensor2D; // [R, 2]
        const dLogits: tf.Tensor2D = tf.tensorScatterUpdate(tf.exp(all), where, tf.sub(tf.exp(value), 1));
        const negated = tf.neg(tf.expandDims(dy, 1)); // [R, 1]
        return [
          tf.mul(negated, tf.matMul(dLogits, table)),
          tf.matMul(dLogits, tf.mul(hidden, negated) as tf.Tensor2D, true, false),
        ];
      },
    };
  })(hidden, table) as tf.Tensor1D;
}
