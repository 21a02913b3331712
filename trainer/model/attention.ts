// Causal grouped-query attention with its own gradient: it keeps the probabilities and the output, no scores.
// Query heads of one group are folded into the length, so that each key-value head is multiplied once.
import * as tf from '@tensorflow/tfjs-core';

/** [T, T], to be added to scores: a position sees itself and what came before it. Make it outside of tf.grads. */
export function causalMask(length: number): tf.Tensor2D {
  const mask = new Float32Array(length * length);
  for (let i = 0; i < length; i++) mask.fill(-1e9, i * length + i + 1, (i + 1) * length);
  return tf.tensor2d(mask, [length, length]);
}

/** q [S·KV, G·T, D], k and v [S·KV, T, D], mask [T, T] → [S·KV, G·T, D] */
export function attend(q: tf.Tensor3D, k: tf.Tensor3D, v: tf.Tensor3D, mask: tf.Tensor2D): tf.Tensor3D {
  const [groups, queries, D] = q.shape;
  const T = k.shape[1];
  const scale = 1 / Math.sqrt(D);
  return tf.customGrad((...args) => {
    const [q, k, v, save] = args as unknown as [tf.Tensor3D, tf.Tensor3D, tf.Tensor3D, tf.GradSaveFunc];
    const scaled = tf.mul(q, scale);
    const scores = tf.reshape(tf.matMul(scaled, k, false, true), [-1, T, T]); // [S·KV, G·T, T] → [S·H, T, T]
    const shares = tf.reshape(tf.softmax(tf.add(scores, mask)), [groups, queries, T]); // [S·H, T, T] → [S·KV, G·T, T]
    const out = tf.matMul(shares, v);
    save([scaled, k, v, shares, out]);
    return {
      value: out,
      gradFunc: (dOut: tf.Tensor, saved: tf.Tensor[]) => {
        const [scaled, k, v, shares, out] = saved as [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor];
        const along = tf.sum(tf.mul(dOut, out), -1, true); // [S·KV, G·T, 1]
        const dScores = tf.mul(shares, tf.sub(tf.matMul(dOut, v, false, true), along));
        return [
          tf.mul(tf.matMul(dScores, k), scale),
          tf.matMul(dScores, scaled, true, false),
          tf.matMul(shares, dOut, true, false),
        ];
      },
    };
  })(q, k, v) as tf.Tensor3D;
}
