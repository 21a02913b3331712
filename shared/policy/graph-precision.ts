// How a policy's matrices are stored and multiplied. A precision is a handful of small functions; the graphs are written
// against this type and never see numbers. Norms, rotary tables and attention are float32 in every precision.
import type { GraphBuilder } from './graph-builder.ts';
import type { WeightFile } from './graph-weights.ts';
import type { Tensor } from './safetensors.ts';

export type Precision = {
  /** Stores W [out, in] for `linear`. */
  storeLinear(file: WeightFile, name: string, weight: Tensor): Promise<void>;
  /** x [..., in] → x Wᵀ [..., out] */
  linear(graph: GraphBuilder, x: string, name: string): string;
  /** Stores a table [V, d] for `embed`, for `head`, or, when it is tied, for both. */
  storeTable(file: WeightFile, name: string, table: Tensor): Promise<void>;
  /** ids [B, S] → [B, S, d] */
  embed(graph: GraphBuilder, ids: string, name: string): string;
  /** h [N, d] → logits [N, V] */
  head(graph: GraphBuilder, h: string, name: string, outputs?: string[]): string;
};

export const float32: Precision = {
  async storeLinear(file, name, weight) {
    const [out, into] = weight.shape as [number, number];
    // ONNX Runtime packs a constant right-hand side while it loads; [in, out] is the layout that MatMul takes.
    await file.store(name, 'float32', [into, out], transposeMatrix(weight));
  },
  linear(graph, x, name) {
    return graph.add('MatMul', [x, graph.weight(name)]);
  },
  async storeTable(file, name, table) {
    await file.store(name, 'float32', table.shape, table.data);
  },
  embed(graph, ids, name) {
    return graph.add('Gather', [graph.weight(name), ids]);
  },
  head(graph, h, name, outputs) {
    // Gemm can read the table as it lies for Gather, so a tied one is stored once.
    const attributes = { transB: 1 };
    return graph.add('Gemm', [h, graph.weight(name)], outputs ? { attributes, outputs } : { attributes });
  },
};

/** [rows, columns] → [columns, rows], in tiles that stay in the cache. */
function transposeMatrix({ shape, data }: Tensor): Float32Array {
  const [rows, columns] = shape as [number, number];
  const turned = new Float32Array(data.length);
  const tile = 32;
  for (let top = 0; top < rows; top += tile) {
    for (let left = 0; left < columns; left += tile) {
      const bottom = Math.min(top + tile, rows);
      const right = Math.min(left + tile, columns);
      for (let row = top; row < bottom; row++) {
        for (let column = left; column < right; column++) turned[column * rows + row] = data[row * columns + column]!;
      }
    }
  }
  return turned;
}
