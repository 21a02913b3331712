// row8: eight-bit integers with one scale for each output of a matrix and one for each row of activations, found as the
// row comes. A row's result depends on nothing but that row, which ONNX Runtime's own dynamic quantization, with one
// scale for a whole batch, does not give; and it is the quickest with many rows.

import { maxAbs, transpose } from '../../model/matrix.ts';
import type { Tensor } from '../../model/safetensors.ts';
import type { GraphBuilder } from '../graph-builder.ts';
import type { Precision } from './precision.ts';

/**
 * Weights stay within ±64: AVX2 adds two products of a byte and a weight in sixteen bits, and 2 · 255 · 64 is the most
 * that fits.
 */
const WEIGHT_RANGE = 64;
const ACTIVATION_RANGE = 127;
/** Activations are stored as unsigned bytes around this. */
const ZERO = 128;

export const row8: Precision = {
  refuse: () => null,
  async storeLinear(file, name, weight) {
    const [out, into] = weight.shape as [number, number];
    const { quantized, scales } = quantizeRows(weight);
    await file.store(name, 'int8', [into, out], transpose(quantized, out, into));
    await file.store(`${name}.scale`, 'float32', [out], scales);
  },
  linear(graph, x, names) {
    const row = quantizeActivations(graph, x, 'rows');
    return names.map((name) => multiply(graph, row, name));
  },
  storeTable: (file, name, table) => row8.storeLinear(file, name, table),
  embed(graph, ids, name) {
    // [d, V] lies as the product wants it: columns are gathered and turned.
    const columns = graph.add('Gather', [graph.weight(name), ids], { attributes: { axis: 1 } });
    const rows = graph.add('Cast', [graph.transpose(columns, [1, 0])], { attributes: { to: FLOAT } });
    const scales = graph.add('Gather', [graph.weight(`${name}.scale`), ids]);
    return graph.add('Mul', [rows, graph.add('Unsqueeze', [scales, graph.ints([-1])])]);
  },
  head(graph, h, name, output) {
    multiply(graph, quantizeActivations(graph, h, 'last rows'), name, output);
  },
};

const FLOAT = 1;

/** W [out, in] → whole numbers and a scale [out] with W ≈ scale · numbers. */
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

type QuantizedRows = { bytes: string; scale: string };

/** x [N, in] → bytes [N, in] and scale [N, 1] with x ≈ scale · (bytes − 128); `rows` names N. */
function quantizeActivations(graph: GraphBuilder, x: string, rows: string): QuantizedRows {
  const largest = graph.add('ReduceMax', [graph.add('Abs', [x]), graph.ints([-1])], { attributes: { keepdims: 1 } });
  const scale = graph.add('Mul', [largest, graph.float(1 / ACTIVATION_RANGE)]);
  const flat = graph.reshape(scale, [-1]);
  const zeros = graph.once(`zeros of ${rows}`, () =>
    graph.add('Expand', [graph.byte(ZERO), graph.add('Shape', [flat])]),
  );
  return { bytes: graph.add('QuantizeLinear', [x, flat, zeros], { attributes: { axis: 0 } }), scale };
}

function multiply(graph: GraphBuilder, { bytes, scale }: QuantizedRows, name: string, output?: string): string {
  const inputs = [bytes, graph.weight(name), graph.float(1), graph.weight(`${name}.scale`), graph.byte(ZERO)];
  const product = graph.addContrib('MatMulIntegerToFloat', inputs);
  return graph.add('Mul', [product, scale], output ? { outputs: [output] } : {});
}
