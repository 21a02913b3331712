// Rotary positions (Su et al. 2021) in the half-split layout of Hugging Face checkpoints. The gradient of a rotation is
// the rotation back, so nothing is kept for it.
import * as tf from '@tensorflow/tfjs-core';

/** Tables [T, D/2]. They are read inside gradient functions, so make them outside of tf.grads, which would free them. */
export type RotaryTables = { cos: tf.Tensor2D; sin: tf.Tensor2D; negatedSin: tf.Tensor2D };

/** A backend may have this kernel; tfjs itself does not. */
export const FUSED_ROTARY = 'FusedRotary';

export function rotaryTables(length: number, headDim: number, theta: number): RotaryTables {
  const half = headDim / 2;
  const cos = new Float32Array(length * half);
  const sin = new Float32Array(length * half);
  for (let t = 0; t < length; t++) {
    for (let i = 0; i < half; i++) {
      const angle = t * theta ** (-i / half);
      cos[t * half + i] = Math.cos(angle);
      sin[t * half + i] = Math.sin(angle);
    }
  }
  const shape: [number, number] = [length, half];
  return {
    cos: tf.tensor2d(cos, shape),
    sin: tf.tensor2d(sin, shape),
    negatedSin: tf.tensor2d(
      sin.map((x) => -x),
      shape,
    ),
  };
}

/** x [S, T, heads, D] → the same, turned by each position's angles */
export function rotate(x: tf.Tensor4D, tables: RotaryTables): tf.Tensor4D {
  return tf.customGrad((...args) => {
    const [x] = args as unknown as [tf.Tensor4D];
    return {
      value: turn(x, tables.cos, tables.sin),
      gradFunc: (dy: tf.Tensor) => turn(dy as tf.Tensor4D, tables.cos, tables.negatedSin),
    };
  })(x) as tf.Tensor4D;
}

function turn(x: tf.Tensor4D, cos: tf.Tensor2D, sin: tf.Tensor2D): tf.Tensor4D {
  if (tf.getKernel(FUSED_ROTARY, tf.getBackend())) return tf.engine().runKernel(FUSED_ROTARY, { x, cos, sin });
  const [S, T, heads, D] = x.shape;
  const half = D / 2;
  const first = tf.slice(x, [0, 0, 0, 0], [S, T, heads, half]);
  const second = tf.slice(x, [0, 0, 0, half], [S, T, heads, half]);
  const c = tf.reshape(cos, [T, 1, half]);
  const s = tf.reshape(sin, [T, 1, half]);
  return tf.concat(
    [tf.sub(tf.mul(first, c), tf.mul(second, s)), tf.add(tf.mul(second, c), tf.mul(first, s))],
    3,
  ) as tf.Tensor4D;
}
