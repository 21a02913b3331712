// row8: int8 weights with one scale per output channel, and dynamically quantized uint8 activations with one scale per
// row. A row's result is therefore independent of the batch, unlike with ONNX Runtime's dynamic quantization, which has
// one scale per batch. The fastest precision for large batches.

import { maxAbs, transpose } from '../../model/matrix.ts';
import type { Tensor } from '../../model/tensor.ts';
import type { GraphBuilder } from '../graph-builder.ts';
import type { Precision } from './precision.ts';

/** Weights stay within ±64: AVX2 adds two byte products in int16, where at most 2 · 255 · 64 fits. */
const WEIGHT_RANGE = 64;
const ACTIVATION_RANGE = 127;
/** Zero point of the uint8 activations. */
const ZERO_POINT = 128;

/** TensorProto.DataType.FLOAT */
const FLOAT_TYPE = 1;

export const row8: Precision = {
  checkInputs: () => null,
  async writeLinear(file, name, weight) {
    const [out, into] = weight.shape as [number, number];
    const { quantized, scales } = quantizeRows(weight);
    await file.write(name, 'int8', [into, out], transpose(quantized, out, into));
    await file.write(`${name}.scale`, 'float32', [out], scales);
  },
  linear(graph, x, names) {
    const row = quantizeActivations(graph, x, 'rows');
    return names.map((name) => multiply(graph, row, name));
  },
  writeEmbedding: (file, name, table) => row8.writeLinear(file, name, table),
  embed(graph, ids, name) {
    // The table is stored [d, V] for the output layer: gather columns, then transpose.
    const columns = graph.add('Gather', [graph.weight(name), ids], { attributes: { axis: 1 } });
    const rows = graph.add('Cast', [graph.transpose(columns, [1, 0])], { attributes: { to: FLOAT_TYPE } });
    const scales = graph.add('Gather', [graph.weight(`${name}.scale`), ids]);
    return graph.add('Mul', [rows, graph.add('Unsqueeze', [scales, graph.intVector([-1])])]);
  },
  outputLayer(graph, h, name, output) {
    multiply(graph, quantizeActivations(graph, h, 'last rows'), name, output);
  },
};

/** W [out, in] → quantized [out, in] and scales [out] with W ≈ scale · quantized */
function quantizeRows({ shape, data }: Tensor): { quantized: Int8Array; scales: Float32Array } {
  const [out, into] = shape as [number, number];
  const quantized = new Int8Array(data.length);
  const scales = new Float32Array(out);
  for (let row = 0; row < out; row++) {
    const scale = maxAbs(data, row * into, (row + 1) * into) / WEIGHT_RANGE;
    scales[row] = scale;
    if (scale === 0) continue;
    for (let i = row * into; i < (row + 1) * into; i++) quantized[i] = Math.round(data[i]! / scale);
  }
  return { quantized, scales };
}

type QuantizedActivations = { bytes: string; scale: string };

/** x [N, in] → bytes [N, in] and scale [N, 1] with x ≈ scale · (bytes − 128). Calls with equal N share a key `rows`. */
function quantizeActivations(graph: GraphBuilder, x: string, rows: string): QuantizedActivations {
  const largest = graph.add('ReduceMax', [graph.add('Abs', [x]), graph.intVector([-1])], {
    attributes: { keepdims: 1 },
  });
  const scale = graph.add('Mul', [largest, graph.floatScalar(1 / ACTIVATION_RANGE)]);
  const flat = graph.reshape(scale, [-1]);
  const zeros = graph.memoize(`zeros of ${rows}`, () =>
    graph.add('Expand', [graph.byteScalar(ZERO_POINT), graph.add('Shape', [flat])]),
  );
  return { bytes: graph.add('QuantizeLinear', [x, flat, zeros], { attributes: { axis: 0 } }), scale };
}

function multiply(graph: GraphBuilder, { bytes, scale }: QuantizedActivations, name: string, output?: string): string {
  const inputs = [
    bytes,
    graph.weight(name),
    graph.floatScalar(1),
    graph.weight(`${name}.scale`),
    graph.byteScalar(ZERO_POINT),
  ];
  const product = graph.addContrib('MatMulIntegerToFloat', inputs);
  return graph.add('Mul', [product, scale], output ? { outputs: [output] } : {});
}
