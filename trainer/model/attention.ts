// Causal grouped-query attention (Ainslie et al. 2023) with a custom gradient that keeps the probabilities and the
// output, not the scores. The G query heads of a group are folded into the length, so that each key-value head is
// multiplied once.
import * as tf from '@tensorflow/tfjs-core';

/**
 * segmentIds, parentSegmentIds [S, T] → [S, 1, T, T], added to the scores: a position attends to earlier positions of
 * its own segment and of its parent segment (a response's prompt). Gradient functions read it, and tf.grads frees what
 * is created inside of it, so create it outside.
 */
export function createAttentionMask(segmentIds: tf.Tensor2D, parentSegmentIds: tf.Tensor2D): tf.Tensor4D {
  const [S, T] = segmentIds.shape;
  const steps = tf.range(0, T, 1, 'int32');
  const isCausal = tf.lessEqual(tf.reshape(steps, [1, 1, T]), tf.reshape(steps, [1, T, 1])); // [1, T, T]
  const keySegments = tf.reshape(segmentIds, [S, 1, T]);
  const isRelated = tf.logicalOr(
    tf.equal(keySegments, tf.reshape(segmentIds, [S, T, 1])),
    tf.equal(keySegments, tf.reshape(parentSegmentIds, [S, T, 1])),
  ); // [S, T, T]
  const isMasked = tf.cast(tf.logicalNot(tf.logicalAnd(isCausal, isRelated)), 'float32');
  return tf.reshape(tf.mul(isMasked, -1e9), [S, 1, T, T]); // [S, T, T] → [S, 1, T, T]
}

/** [N, D, T] → [N, T, D]. A product whose transposed factor is the narrow one is up to a third faster. */
function transposeLastTwo(x: tf.Tensor): tf.Tensor {
  return tf.transpose(x, [0, 2, 1]);
}

/** softmax(q kᵀ / √D + mask) v: q [S·KV, G·T, D], k and v [S·KV, T, D], mask [S, 1, T, T] → [S·KV, G·T, D] */
export function attend(q: tf.Tensor3D, k: tf.Tensor3D, v: tf.Tensor3D, mask: tf.Tensor4D): tf.Tensor3D {
  const [groups, queries, D] = q.shape;
  const T = k.shape[1];
  const S = mask.shape[0];
  const scale = 1 / Math.sqrt(D);
  return tf.customGrad((...args) => {
    const [q, k, v, save] = args as unknown as [tf.Tensor3D, tf.Tensor3D, tf.Tensor3D, tf.GradSaveFunc];
    const scaled = tf.mul(q, scale);
    const scores = tf.reshape(tf.matMul(scaled, k, false, true), [S, -1, T, T]); // [S·KV, G·T, T] → [S, H, T, T]
    const probs = tf.reshape(tf.softmax(tf.add(scores, mask)), [groups, queries, T]); // [S, H, T, T] → [S·KV, G·T, T]
    const out = tf.matMul(probs, v);
    save([scaled, k, v, probs, out]);
    return {
      value: out,
      gradFunc: (dOut: tf.Tensor, saved: tf.Tensor[]) => {
        const [scaled, k, v, probs, out] = saved as [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor];
        // dScores = P ∘ (dP − rowsum(dP ∘ P)), and rowsum(dP ∘ P) = rowsum(dOut ∘ out), as in FlashAttention.
        const rowSums = tf.sum(tf.mul(dOut, out), -1, true); // [S·KV, G·T, 1]
        const dScores = tf.mul(probs, tf.sub(tf.matMul(dOut, v, false, true), rowSums));
        return [
          tf.mul(tf.matMul(dScores, k), scale),
          transposeLastTwo(tf.matMul(scaled, dScores, true, false)),
          transposeLastTwo(tf.matMul(dOut, probs, true, false)),
        ];
      },
    };
  })(q, k, v) as tf.Tensor3D;
}
