// The log-prob head: output layer and log-softmax as one operation with a custom gradient,
//   log p(y) = h·W_y − log Σ_v exp(h·W_v)     d/dh = W_y − Σ_v p_v W_v     d/dW_v = (1[v = y] − p_v) h
// The [R, V] probabilities are by far the largest tensor in training, so only one of that size exists. It is computed
// in chunks of the vocabulary, which a CPU multiplies a tenth faster than the whole. The softmax over V is the softmax
// of each chunk times that chunk's share of the total probability.
import * as tf from '@tensorflow/tfjs-core';

/** Rows of the vocabulary in one chunk. */
const MAX_CHUNK_ROWS = 8192;

/** hidden [R, d], table [V, d], targetIds [R] → log-probabilities [R] */
export function targetLogps(hidden: tf.Tensor2D, table: tf.Tensor2D, targetIds: tf.Tensor1D): tf.Tensor1D {
  return tf.customGrad((...args) => {
    const [hidden, table, save] = args as unknown as [tf.Tensor2D, tf.Tensor2D, tf.GradSaveFunc];
    const V = table.shape[0];
    const chunks: tf.Tensor2D[] = tf.split(table, chunkSizes(V)); // [v, d] each
    const logSums: tf.Tensor2D[] = [];
    const chunkProbs = chunks.map((chunk) => {
      const logits: tf.Tensor2D = tf.matMul(hidden, chunk, false, true); // [R, v]
      const logps = logSoftmax(logits);
      // logit − logp is the chunk's log-sum-exp [R, 1], the same in every column.
      logSums.push(tf.sub(tf.slice(logits, [0, 0], [-1, 1]), tf.slice(logps, [0, 0], [-1, 1])));
      return tf.exp(logps);
    });
    const logSum: tf.Tensor2D = tf.logSumExp(tf.concat(logSums, 1), 1, true); // [R, 1]
    const targetRows: tf.Tensor2D = tf.gather(table, targetIds); // [R, d]
    const value = tf.sub(tf.sum(tf.mul(hidden, targetRows), 1), tf.squeeze(logSum, [1])); // [R]
    save([hidden, targetIds, targetRows, logSum, ...logSums, ...chunkProbs, ...chunks]);
    return {
      value,
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const [hidden, targetIds, targetRows, logSum] = saved as [tf.Tensor2D, tf.Tensor1D, tf.Tensor2D, tf.Tensor2D];
        const group = (index: number) =>
          saved.slice(4 + index * chunks.length).slice(0, chunks.length) as tf.Tensor2D[];
        const [logSums, chunkProbs, table] = [group(0), group(1), group(2)];
        const negated = tf.neg(tf.expandDims(dy, 1)); // [R, 1]
        const shares = logSums.map((chunkSum) => tf.mul(tf.exp(tf.sub(chunkSum, logSum)), negated)); // [R, 1] each
        const dHidden = chunkProbs.map((probs, i) => tf.mul(tf.matMul(probs, table[i]!), shares[i]!)); // [R, d] each
        // [d, v] each: faster with the small factor transposed, so the sum is transposed once at the end.
        const dTable = chunkProbs.map((probs, i) => tf.matMul(tf.mul(hidden, shares[i]!) as tf.Tensor2D, probs, true));
        return [
          tf.sub(
            dHidden.reduce((a, b) => tf.add(a, b)),
            tf.mul(targetRows, negated),
          ),
          tf.add(
            tf.transpose(tf.concat(dTable, 1)), // [d, V] → [V, d]
            tf.unsortedSegmentSum(tf.mul(hidden, tf.expandDims(dy, 1)), targetIds, V),
          ),
        ];
      },
    };
  })(hidden, table) as tf.Tensor1D;
}

/** As few chunks as possible, of about equal size. */
function chunkSizes(V: number): number[] {
  const count = Math.ceil(V / MAX_CHUNK_ROWS);
  const end = (i: number) => Math.floor((V * i) / count);
  return Array.from({ length: count }, (_, i) => end(i + 1) - end(i));
}

/** tfjs composes log-softmax from five operations; a backend may have one kernel for it. */
function logSoftmax(x: tf.Tensor2D): tf.Tensor2D {
  if (!tf.getKernel('LogSoftmax', tf.getBackend())) return tf.logSoftmax(x);
  return tf.engine().runKernel('LogSoftmax', { logits: x });
}
