// Activations as unsigned bytes with one scale per row, computed while the graph runs: a row's result does not depend on
// what else is in the batch, as it would with ONNX Runtime's dynamic quantization.
import type { GraphBuilder } from './graph-builder.ts';

const RANGE = 127;
export const ZERO_POINT = 128;

export type QuantizedRows = { bytes: string; scale: string };

/** x [N, in] → bytes [N, in] and scale [N, 1] with x ≈ scale · (bytes − 128). `zeros`: a zero point for each row [N]. */
export function quantizeRows(
  graph: GraphBuilder,
  x: string,
  zeros: (rows: string) => string = (rows) => expandZeroPoint(graph, graph.add('Shape', [rows])),
): QuantizedRows {
  const largest = graph.add('ReduceMax', [graph.add('Abs', [x]), graph.intVector([-1])], {
    attributes: { keepdims: 1 },
  });
  const scale = graph.add('Mul', [largest, graph.floatScalar(1 / RANGE)]);
  const flat = graph.reshape(scale, [-1]);
  return { bytes: graph.add('QuantizeLinear', [x, flat, zeros(flat)], { attributes: { axis: 0 } }), scale };
}

/** The zero point of each of `count` [1] rows. */
export function expandZeroPoint(graph: GraphBuilder, count: string): string {
  return graph.add('Expand', [graph.byteScalar(ZERO_POINT), count]);
}
