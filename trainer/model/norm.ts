// RMSNorm with its own gradient: tfjs would differentiate every small operation in it and keep all the intermediates.
import * as tf from '@tensorflow/tfjs-core';

/** x [N, d], gain [d] → [N, d] */
export function rmsNorm(x: tf.Tensor2D, gain: tf.Tensor1D, epsilon: number): tf.Tensor2D {
  return tf.customGrad((...args) => {
    const [x, gain, save] = args as unknown as [tf.Tensor2D, tf.Tensor1D, tf.GradSaveFunc];
    const inverse = tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), epsilon)); // [N, 1]
    save([x, gain, inverse]);
    return {
      value: tf.mul(tf.mul(x, inverse), gain),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const [x, gain, inverse] = saved as [tf.Tensor, tf.Tensor, tf.Tensor];
        const normed = tf.mul(x, inverse);
        const dNormed = tf.mul(dy, gain);
        const along = tf.mean(tf.mul(dNormed, normed), -1, true);
        return [tf.mul(inverse, tf.sub(dNormed, tf.mul(normed, along))), tf.sum(tf.mul(dy, normed), 0)];
      },
    };
  })(x, gain) as tf.Tensor2D;
}
