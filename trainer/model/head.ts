// The output layer and the log-softmax as one operation with its own gradient. [R, V] is by far the largest thing in
// training, so there is never a second one, and it comes in pieces of the vocabulary: a processor multiplies them a
// tenth quicker than all at once. The softmax of all is that of each piece times the piece's share.
import * as tf from '@tensorflow/tfjs-core';

/** Rows of the table in one piece, at most. */
const PIECE = 8192;

/** hidden [R, d], table [V, d], targets [R] → log-probabilities [R] */
export function targetLogps(hidden: tf.Tensor2D, table: tf.Tensor2D, targets: tf.Tensor1D): tf.Tensor1D {
  return tf.customGrad((...args) => {
    const [hidden, table, save] = args as unknown as [tf.Tensor2D, tf.Tensor2D, tf.GradSaveFunc];
    const V = table.shape[0];
    const pieces: tf.Tensor2D[] = tf.split(table, pieceSizes(V)); // [v, d] each
    const sums: tf.Tensor2D[] = [];
    const parts = pieces.map((piece) => {
      const logits: tf.Tensor2D = tf.matMul(hidden, piece, false, true); // [R, v]
      const logps = logSoftmax(logits);
      // Any column tells by how much its row was lowered.
      sums.push(tf.sub(tf.slice(logits, [0, 0], [-1, 1]), tf.slice(logps, [0, 0], [-1, 1])));
      return tf.exp(logps);
    });
    const sum: tf.Tensor2D = tf.logSumExp(tf.concat(sums, 1), 1, true); // [R, 1]
    const wanted: tf.Tensor2D = tf.gather(table, targets); // [R, d]
    const value = tf.sub(tf.sum(tf.mul(hidden, wanted), 1), tf.squeeze(sum, [1])); // [R]
    save([hidden, targets, wanted, sum, ...sums, ...parts, ...pieces]);
    return {
      value,
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const [hidden, targets, wanted, sum] = saved as [tf.Tensor2D, tf.Tensor1D, tf.Tensor2D, tf.Tensor2D];
        const take = (group: number) => saved.slice(4 + group * pieces.length).slice(0, pieces.length) as tf.Tensor2D[];
        const [sums, parts, table] = [take(0), take(1), take(2)];
        const negated = tf.neg(tf.expandDims(dy, 1)); // [R, 1]
        const shares = sums.map((one) => tf.mul(tf.exp(tf.sub(one, sum)), negated)); // [R, 1] each
        const toHidden = parts.map((part, i) => tf.mul(tf.matMul(part, table[i]!), shares[i]!)); // [R, d] each
        // With the small factor as the transposed one, [d, V], it is quicker, and so turned once in the end.
        const toTable = parts.map((part, i) => tf.matMul(tf.mul(hidden, shares[i]!) as tf.Tensor2D, part, true));
        return [
          tf.sub(
            toHidden.reduce((a, b) => tf.add(a, b)),
            tf.mul(wanted, negated),
          ),
          tf.add(
            tf.transpose(tf.concat(toTable, 1)),
            tf.unsortedSegmentSum(tf.mul(hidden, tf.expandDims(dy, 1)), targets, V),
          ),
        ];
      },
    };
  })(hidden, table) as tf.Tensor1D;
}

/** As few pieces as there can be, of about one size. */
function pieceSizes(V: number): number[] {
  const count = Math.ceil(V / PIECE);
  const end = (i: number) => Math.floor((V * i) / count);
  return Array.from({ length: count }, (_, i) => end(i + 1) - end(i));
}

/** tfjs makes it of five operations; a backend may have it as one. */
function logSoftmax(x: tf.Tensor2D): tf.Tensor2D {
  if (!tf.getKernel('LogSoftmax', tf.getBackend())) return tf.logSoftmax(x);
  return tf.engine().runKernel('LogSoftmax', { logits: x });
}
