// row8: int8 weights with one scale per output channel, and dynamically quantized uint8 activations with one scale per
// row. A row's result is therefore independent of the batch, unlike with ONNX Runtime's dynamic quantization, which has
// one scale per batch. The fastest precision for large batches; rotated, so that one scale fits a row.

import { maxAbs, transpose } from '../../model/matrix.ts';
import type { Tensor } from '../../model/tensor.ts';
import type { GraphBuilder } from '../graph-builder.ts';
import { expandZeroPoint, type QuantizedRows, quantizeRows, ZERO_POINT } from '../row-quantization.ts';
import type { Precision } from './precision.ts';

const WEIGHT_RANGE = 127;

/** TensorProto.DataType.FLOAT */
const FLOAT_TYPE = 1;

/** TensorProto.DataType.UINT8 */
const BYTE_TYPE = 2;

/** How a graph's matrices are typed. Both multiply the same integers, so their results are bitwise equal. */
type Weights = {
  /** The matrix [in, out]. */
  matrix(graph: GraphBuilder, name: string): string;
  /** Its zero point, if it is not 0. */
  zeroPoint(graph: GraphBuilder): string[];
};

/** As stored. Exact on processors that sum byte products in 32 bits (VNNI, AMX, Arm), and fastest there. */
const signed: Weights = { matrix: (graph, name) => graph.weight(name), zeroPoint: () => [] };

/**
 * Shifted by 128, which ONNX Runtime computes once, at load. Its AVX2 kernel adds two products of a uint8 and an int8 in
 * int16, which saturates; for two uint8 it widens both first.
 */
const unsigned: Weights = {
  matrix: (graph, name) =>
    graph.memoize(`unsigned ${name}`, () => {
      const bytes = graph.add('Cast', [graph.weight(name)], { attributes: { to: BYTE_TYPE } });
      return graph.add('BitwiseXor', [bytes, graph.byteScalar(ZERO_POINT)]);
    }),
  zeroPoint: (graph) => [graph.byteScalar(ZERO_POINT)],
};

export const row8: Precision = { ...createRow8(signed), unsigned: createRow8(unsigned) };

function createRow8(weights: Weights): Precision {
  const precision: Precision = {
    isRotated: true,
    kvFormat: 'int8',
    checkInputs: () => null,
    async writeLinear(file, name, weight) {
      const [out, into] = weight.shape as [number, number];
      const { quantized, scales } = quantizeWeights(weight);
      await file.write(name, 'int8', [into, out], transpose(quantized, out, into));
      await file.write(`${name}.scale`, 'float32', [out], scales);
    },
    linear(graph, x, names) {
      const row = quantizeShared(graph, x, 'rows');
      return names.map((name) => multiply(graph, weights, row, name));
    },
    writeEmbedding: (file, name, table) => precision.writeLinear(file, name, table),
    embed(graph, ids, name) {
      // The table is stored [d, V] for the output layer: gather columns, then transpose.
      const columns = graph.add('Gather', [weights.matrix(graph, name), ids], { attributes: { axis: 1 } });
      const rows = graph.add('Cast', [graph.transpose(columns, [1, 0])], { attributes: { to: FLOAT_TYPE } });
      const [zeroPoint] = weights.zeroPoint(graph);
      const integers = zeroPoint ? graph.add('Sub', [rows, graph.floatScalar(ZERO_POINT)]) : rows;
      const scales = graph.add('Gather', [graph.weight(`${name}.scale`), ids]);
      return graph.add('Mul', [integers, graph.add('Unsqueeze', [scales, graph.intVector([-1])])]);
    },
    outputLayer(graph, h, name, output) {
      multiply(graph, weights, quantizeShared(graph, h, 'last rows'), name, output);
    },
  };
  return precision;
}

/** W [out, in] → quantized [out, in] and scales [out] with W ≈ scale · quantized */
function quantizeWeights({ shape, data }: Tensor): { quantized: Int8Array; scales: Float32Array } {
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

/** Calls with equal numbers of rows share a key `rows`. */
function quantizeShared(graph: GraphBuilder, x: string, rows: string): QuantizedRows {
  const zeros = (flat: string) =>
    graph.memoize(`zeros of ${rows}`, () => expandZeroPoint(graph, graph.add('Shape', [flat])));
  return quantizeRows(graph, x, zeros);
}

function multiply(
  graph: GraphBuilder,
  weights: Weights,
  { bytes, scale }: QuantizedRows,
  name: string,
  output?: string,
): string {
  const inputs = [
    bytes,
    weights.matrix(graph, name),
    graph.floatScalar(1),
    graph.weight(`${name}.scale`),
    graph.byteScalar(ZERO_POINT),
    ...weights.zeroPoint(graph),
  ];
  const product = graph.addContrib('MatMulIntegerToFloat', inputs);
  return graph.add('Mul', [product, scale], output ? { outputs: [output] } : {});
}
