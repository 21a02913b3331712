// fp32: the trainer's precision, and the reference for the others.
import { transpose } from '../../model/matrix.ts';
import type { Precision } from './precision.ts';

export const float32: Precision = {
  isRotated: false,
  kvFormat: 'float32',
  checkInputs: () => null,
  async writeLinear(file, name, weight) {
    // ONNX Runtime prepacks a constant right-hand side of MatMul at load, which takes [in, out].
    const [out, into] = weight.shape as [number, number];
    await file.write(name, 'float32', [into, out], transpose(weight.data, out, into));
  },
  linear: (graph, x, names) => names.map((name) => graph.add('MatMul', [x, graph.weight(name)])),
  async writeEmbedding(file, name, table) {
    await file.write(name, 'float32', table.shape, table.data);
  },
  embed: (graph, ids, name) => graph.add('Gather', [graph.weight(name), ids]),
  outputLayer(graph, h, name, output) {
    // Gemm reads the table in Gather's layout, so a tied one is stored once.
    graph.add('Gemm', [h, graph.weight(name)], { attributes: { transB: 1 }, outputs: [output] });
  },
};
