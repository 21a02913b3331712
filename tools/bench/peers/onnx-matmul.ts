// Seconds that ONNX Runtime takes for each matrix matmul, the fastest of several repeats. Both factors are inputs, as in
// training.
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { type OnnxGraph, writeOnnxModel } from '../../../shared/onnx/model-proto.ts';
import type { Matmul } from '../train-flops.ts';
import type { MatmulPlan } from '../train-peak-flops.ts';
import { handleTrainingPlan } from './peer.ts';

handleTrainingPlan(async ({ matmuls, threads, repeats }: MatmulPlan) => {
  const seconds: number[] = [];
  for (const matmul of matmuls) seconds.push(await measure(matmul, threads, repeats));
  return { seconds };
});

async function measure(matmul: Matmul, threads: number, repeats: number): Promise<number> {
  const { rows, inner, columns, transposeA, transposeB } = matmul;
  const dims = { x: transposeA ? [inner, rows] : [rows, inner], w: transposeB ? [columns, inner] : [inner, columns] };
  const attributes = { transA: transposeA ? 1 : 0, transB: transposeB ? 1 : 0 };
  const graph: OnnxGraph = {
    nodes: [{ op: 'Gemm', inputs: ['x', 'w'], outputs: ['y'], attributes }],
    inputs: [
      { name: 'x', type: 'float32', dims: dims.x },
      { name: 'w', type: 'float32', dims: dims.w },
    ],
    outputs: [{ name: 'y', type: 'float32', dims: [rows, columns] }],
    initializers: [],
  };
  const fill = (dims: number[]) => new Tensor('float32', new Float32Array(dims[0]! * dims[1]!).fill(0.5), dims);
  const feeds = { x: fill(dims.x), w: fill(dims.w) };
  const fetches = { y: fill([rows, columns]) };
  const session = await InferenceSession.create(writeOnnxModel(graph), { intraOpNumThreads: threads });
  let best = Number.POSITIVE_INFINITY;
  for (let repeat = 0; repeat < repeats; repeat++) {
    const started = performance.now();
    await session.run(feeds, fetches);
    best = Math.min(best, performance.now() - started);
  }
  await session.release();
  return best / 1000;
}
