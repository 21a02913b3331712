// Seconds that ONNX Runtime takes for each of some products of matrices, the best of many. Both factors are inputs, as
// in training.
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { type OnnxGraph, writeOnnxModel } from '../../../shared/onnx/model-proto.ts';
import type { ProductsPlan } from '../train-ceiling.ts';
import type { Product } from '../train-work.ts';
import { answer } from './program.ts';

answer(async ({ products, threads, repeats }: ProductsPlan) => {
  const seconds: number[] = [];
  for (const product of products) seconds.push(await measure(product, threads, repeats));
  return { seconds };
});

async function measure(product: Product, threads: number, repeats: number): Promise<number> {
  const { rows, inner, columns, transposeA, transposeB } = product;
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
