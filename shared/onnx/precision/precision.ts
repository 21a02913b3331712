// How a policy's matrices are stored and multiplied. Norms, rotary tables and what attention
// adds up are float32 at every precision.

import type { Tensor } from '../../model/tensor.ts';
import type { ExternalDataFile } from '../external-data.ts';
import type { GraphBuilder } from '../graph-builder.ts';
import type { KvFormat } from '../kv-format.ts';

export type Precision = {
  /** Whether the weights are rotated (rotated-weights.ts), so that activations quantize by the row without outliers. */
  isRotated: boolean;
  /** How keys and values are kept. */
  kvFormat: KvFormat;
  /** The same products with unsigned weights, for processors on which those with signed ones saturate. */
  unsigned?: Precision;
  /** Returns why matrices with this number of inputs are unsupported, or null. */
  checkInputs(inputs: number): string | null;
  /** Writes W [out, in] for `linear`. */
  writeLinear(file: ExternalDataFile, name: string, weight: Tensor): Promise<void>;
  /** x [N, in] → x Wᵀ [N, out] for each named W; quantizing x is shared. */
  linear(graph: GraphBuilder, x: string, names: string[]): string[];
  /** Writes a table [V, d] for `embed`, `outputLayer`, or both if tied. */
  writeEmbedding(file: ExternalDataFile, name: string, table: Tensor): Promise<void>;
  /** ids [N] → [N, d] */
  embed(graph: GraphBuilder, ids: string, name: string): string;
  /** h [rows, d] → logits [rows, V], as the graph output `output` */
  outputLayer(graph: GraphBuilder, h: string, name: string, output: string): void;
};
