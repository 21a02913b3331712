// Rotary positions (Su et al. 2021) in the half-split layout of Hugging Face checkpoints. The gradient of a rotation is
// the rotation back, so nothing is kept for it.
import * as tf from '@tensorflow/tfjs-core';
import { type Architecture, rotaryDims } from '../../shared/model/architecture.ts';
import { rotaryTables } from '../../shared/model/rotary.ts';

/**
 * Tables [T, dims/2] by position, where dims are those that turn, and the position [S, T] of every token. They are read
 * inside gradient functions, so make them outside of tf.grads, which would free them.
 */
export type RotaryTables = { cos: tf.Tensor2D; sin: tf.Tensor2D; negatedSin: tf.Tensor2D; positionIds: tf.Tensor2D };

/** A backend may have this kernel; tfjs itself does not. */
export const FUSED_ROTARY = 'FusedRotary';

/** For positions below `length`. */
export function makeTables(a: Architecture, positionIds: tf.Tensor2D, length: number): RotaryTables {
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

/** x [S, T, heads, D] → the same, the first dimensions of each head turned by each position's angles */
export function rotate(x: tf.Tensor4D, tables: RotaryTables): tf.Tensor4D {
  return tf.customGrad((...args) => {
    const [x] = args as unknown as [tf.Tensor4D];
    return {
      value: turn(x, tables, tables.sin),
      gradFunc: (dy: tf.Tensor) => turn(dy as tf.Tensor4D, tables, tables.negatedSin),
    };
  })(x) as tf.Tensor4D;
}

function turn(x: tf.Tensor4D, { cos, positionIds }: RotaryTables, sin: tf.Tensor2D): tf.Tensor4D {
  if (tf.getKernel(FUSED_ROTARY, tf.getBackend()))
    return tf.engine().runKernel(FUSED_ROTARY, { x, cos, sin, positionIds });
  const [S, T, heads, D] = x.shape;
  const half = cos.shape[1];
  const take = (begin: number, size: number) => tf.slice(x, [0, 0, 0, begin], [S, T, heads, size]);
  const first = take(0, half);
  const second = take(half, half);
  const at = (table: tf.Tensor2D) => tf.reshape(tf.gather(table, positionIds), [S, T, 1, half]); // [S, T, half] → [S, T, 1, half]
  const c = at(cos);
  const s = at(sin);
  const turned = [tf.sub(tf.mul(first, c), tf.mul(second, s)), tf.add(tf.mul(second, c), tf.mul(first, s))];
  const still = 2 * half < D ? [take(2 * half, D - 2 * half)] : [];
  return tf.concat([...turned, ...still], 3) as tf.Tensor4D;
}
