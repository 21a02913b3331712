// SwiGLU (Shazeer 2020) with its own gradient, which keeps only the two inputs.
import * as tf from '@tensorflow/tfjs-core';

/** gate, up [N, f] → silu(gate) · up [N, f] */
export function swiglu(gate: tf.Tensor2D, up: tf.Tensor2D): tf.Tensor2D {
  return tf.customGrad((...args) => {
    const [gate, up, save] = args as unknown as [tf.Tensor2D, tf.Tensor2D, tf.GradSaveFunc];
    save([gate, up]);
    return {
      value: tf.mul(tf.mul(gate, tf.sigmoid(gate)), up),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const [gate, up] = saved as [tf.Tensor, tf.Tensor];
        const s = tf.sigmoid(gate);
        const silu = tf.mul(gate, s);
        // silu' = s + silu·(1 − s)
        return [tf.mul(tf.mul(dy, up), tf.add(s, tf.sub(silu, tf.mul(silu, s)))), tf.mul(dy, silu)];
      },
    };
  })(gate, up) as tf.Tensor2D;
}
