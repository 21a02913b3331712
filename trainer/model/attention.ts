// Causal grouped-query attention with its own gradient: it keeps the probabilities and the output, no scores.
// Query heads of one group are folded into the length, so that each key-value head is multiplied once.
import * as tf from '@tensorflow/tfjs-core';

/**
 * segments, parents [S, T] → [S, 1, T, T], to be added to scores: a position sees what came before it in its own segment
 * and in the one that this continues. Make it outside of tf.grads.
 */
export function visibility(segments: tf.Tensor2D, parents: tf.Tensor2D): tf.Tensor4D {
  const [S, T] = segments.shape;
  const steps = tf.range(0, T, 1, 'int32');
  const before = tf.lessEqual(tf.reshape(steps, [1, 1, T]), tf.reshape(steps, [1, T, 1])); // [1, T, T]
  const keys = tf.reshape(segments, [S, 1, T]);
  const related = tf.logicalOr(
    tf.equal(keys, tf.reshape(segments, [S, T, 1])),
    tf.equal(keys, tf.reshape(parents, [S, T, 1])),
  ); // [S, T, T]
  const hidden = tf.cast(tf.logicalNot(tf.logicalAnd(before, related)), 'float32');
  return tf.reshape(tf.mul(hidden, -1e9), [S, 1, T, T]);
}

/** [N, D, T] → [N, T, D]. A product whose transposed factor is the narrow one is up to a third quicker. */
function turn(x: tf.Tensor): tf.Tensor {
  return tf.transpose(x, [0, 2, 1]);
}

/** q [S·KV, G·T, D], k and v [S·KV, T, D], mask [S, 1, T, T] → [S·KV, G·T, D] */
export function attend(q: tf.Tensor3D, k: tf.Tensor3D, v: tf.Tensor3D, mask: tf.Tensor4D): tf.Tensor3D {
  const [groups, queries, D] = q.shape;
  const T = k.shape[1];
  const S = mask.shape[0];
  const scale = 1 / Math.sqrt(D);
  return tf.customGrad((...args) => {
    const [q, k, v, save] = args as unknown as [tf.Tensor3D, tf.Tensor3D, tf.Tensor3D, tf.GradSaveFunc];
    const scaled = tf.mul(q, scale);
    const scores = tf.reshape(tf.matMul(scaled, k, false, true), [S, -1, T, T]); // [S·KV, G·T, T] → [S, H, T, T]
    const shares = tf.reshape(tf.softmax(tf.add(scores, mask)), [groups, queries, T]); // [S, H, T, T] → [S·KV, G·T, T]
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
          turn(tf.matMul(scaled, dScores, true, false)),
          turn(tf.matMul(dOut, shares, true, false)),
        ];
      },
    };
  })(q, k, v) as tf.Tensor3D;
}
