// RMSNorm (Zhang and Sennrich 2019) and LayerNorm (Ba et al. 2016) with custom gradients: tfjs would differentiate
// every small operation in them and keep all intermediates.
import * as tf from '@tensorflow/tfjs-core';

/** x [N, d], gain [d] → x / √(mean(x²) + ε) · gain [N, d] */
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
        const projection = tf.mean(tf.mul(dNormed, normed), -1, true); // [N, 1]
        return [tf.mul(inverse, tf.sub(dNormed, tf.mul(normed, projection))), tf.sum(tf.mul(dy, normed), 0)];
      },
    };
  })(x, gain) as tf.Tensor2D;
}

/** x [N, d], gain [d], bias [d] → (x − mean(x)) / √(var(x) + ε) · gain + bias [N, d] */
export function layerNorm(x: tf.Tensor2D, gain: tf.Tensor1D, bias: tf.Tensor1D, epsilon: number): tf.Tensor2D {
  return tf.customGrad((...args) => {
    const [x, gain, bias, save] = args as unknown as [tf.Tensor2D, tf.Tensor1D, tf.Tensor1D, tf.GradSaveFunc];
    const mean = tf.mean(x, -1, true); // [N, 1]
    const centred = tf.sub(x, mean);
    const inverse = tf.rsqrt(tf.add(tf.mean(tf.square(centred), -1, true), epsilon)); // [N, 1]
    save([x, gain, mean, inverse]);
    return {
      value: tf.add(tf.mul(tf.mul(centred, inverse), gain), bias),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const [x, gain, mean, inverse] = saved as [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor];
        const normed = tf.mul(tf.sub(x, mean), inverse);
        const dNormed = tf.mul(dy, gain);
        const projection = tf.mean(tf.mul(dNormed, normed), -1, true); // [N, 1]
        const dCentred = tf.sub(dNormed, tf.add(tf.mean(dNormed, -1, true), tf.mul(normed, projection)));
        return [tf.mul(inverse, dCentred), tf.sum(tf.mul(dy, normed), 0), tf.sum(dy, 0)];
      },
    };
  })(x, gain, bias) as tf.Tensor2D;
}
