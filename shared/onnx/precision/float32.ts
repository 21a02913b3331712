// float32: what the trainer computes with, and what the other precisions are held against.
import { transpose } from '../../model/matrix.ts';
import type { Precision } from './precision.ts';

export const float32: Precision = {
  refuse: () => null,
  async storeLinear(file, name, weight) {
    // ONNX Runtime packs a constant right-hand side while it loads; [in, out] is the layout that MatMul takes.
    const [out, into] = weight.shape as [number, number];
    await file.store(name, 'float32', [into, out], transpose(weight.data, out, into));
  },
  linear: (graph, x, names) => names.map((name) => graph.add('MatMul', [x, graph.weight(name)])),
  async storeTable(file, name, table) {
    await file.store(name, 'float32', table.shape, table.data);
  },
  embed: (graph, ids, name) => graph.add('Gather', [graph.weight(name), ids]),
  head(graph, h, name, output) {
    // Gemm can read the table as it lies for Gather, so a tied one is stored once.
    graph.add('Gemm', [h, graph.weight(name)], { attributes: { transB: 1 }, outputs: [output] });
  },
};
