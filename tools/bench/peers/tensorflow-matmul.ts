// Seconds that TensorFlow (oneDNN) takes for each matrix product, the fastest of several repeats.
import * as tf from '@tensorflow/tfjs-core';
import { openBackend } from '../../../trainer/engine/devices/tensorflow/tensorflow-backend.ts';
import type { Matmul } from '../train-flops.ts';
import type { MatmulPlan } from '../train-peak-flops.ts';
import { handleTrainingPlan } from './peer.ts';

handleTrainingPlan(async ({ matmuls, threads, repeats }: MatmulPlan) => {
  process.env.TF_NUM_INTRAOP_THREADS = String(threads);
  await openBackend();
  return { seconds: matmuls.map((matmul) => measure(matmul, repeats)) };
});

function measure({ rows, inner, columns, transposeA, transposeB }: Matmul, repeats: number): number {
  const x = tf.fill(transposeA ? [inner, rows] : [rows, inner], 0.5) as tf.Tensor2D;
  const w = tf.fill(transposeB ? [columns, inner] : [inner, columns], 0.5) as tf.Tensor2D;
  let best = Number.POSITIVE_INFINITY;
  for (let repeat = 0; repeat < repeats; repeat++) {
    const started = performance.now();
    // The addon computes an operation before it returns.
    tf.matMul(x, w, transposeA, transposeB).dispose();
    best = Math.min(best, performance.now() - started);
  }
  tf.dispose([x, w]);
  return best / 1000;
}
