// Rotary position embeddings (Su et al. 2021) in the half-split layout of Hugging Face checkpoints. The gradient of a
// rotation is the inverse rotation, so nothing is kept for the backward pass.
import * as tf from '@tensorflow/tfjs-core';
import { type Architecture, rotaryDims } from '../../shared/model/architecture.ts';
import { rotaryTables } from '../../shared/model/rotary.ts';

/**
 * Tables [positions, dims/2], where dims are the rotated dimensions of a head, and the position [S, T] of each token.
 * Gradient functions read them, and tf.grads frees what is created inside of it, so create them outside.
 */
export type RotaryTables = { cos: tf.Tensor2D; sin: tf.Tensor2D; negatedSin: tf.Tensor2D; positionIds: tf.Tensor2D };

/** An optional kernel of a backend, which tfjs does not define. */
export const FUSED_ROTARY = 'FusedRotary';

/** For positions below `length`. */
export function createRotaryTables(a: Architecture, positionIds: tf.Tensor2D, length: number): RotaryTables {
  const { cos, sin } = rotaryTables(a, length);
  const shape: [number, number] = [length, rotaryDims(a) / 2];
  return {
    positionIds,
    cos: tf.tensor2d(cos, shape),
    sin: tf.tensor2d(sin, shape),
    negatedSin: tf.tensor2d(
      sin.map((x) => -x),
      shape,
    ),
  };
}

/** x [S, T, heads, D] → the same shape, the first dims of each head rotated by the angles of the position */
export function applyRotary(x: tf.Tensor4D, tables: RotaryTables): tf.Tensor4D {
  return tf.customGrad((...args) => {
    const [x] = args as unknown as [tf.Tensor4D];
    return {
      value: rotate(x, tables, tables.sin),
      gradFunc: (dy: tf.Tensor) => rotate(dy as tf.Tensor4D, tables, tables.negatedSin),
    };
  })(x) as tf.Tensor4D;
}

/** (x₁, x₂) → (x₁ cos − x₂ sin, x₂ cos + x₁ sin), for x₁ and x₂ the halves of the rotated dims */
function rotate(x: tf.Tensor4D, { cos, positionIds }: RotaryTables, sin: tf.Tensor2D): tf.Tensor4D {
  if (tf.getKernel(FUSED_ROTARY, tf.getBackend()))
    return tf.engine().runKernel(FUSED_ROTARY, { x, cos, sin, positionIds });
  const [S, T, heads, D] = x.shape;
  const half = cos.shape[1];
  const sliceDims = (begin: number, size: number) => tf.slice(x, [0, 0, 0, begin], [S, T, heads, size]);
  const first = sliceDims(0, half);
  const second = sliceDims(half, half);
  const lookUp = (table: tf.Tensor2D) => tf.reshape(tf.gather(table, positionIds), [S, T, 1, half]); // [S, T, half] → [S, T, 1, half]
  const c = lookUp(cos);
  const s = lookUp(sin);
  const rotated = [tf.sub(tf.mul(first, c), tf.mul(second, s)), tf.add(tf.mul(second, c), tf.mul(first, s))];
  const unrotated = 2 * half < D ? [sliceDims(2 * half, D - 2 * half)] : [];
  return tf.concat([...rotated, ...unrotated], 3) as tf.Tensor4D;
}
