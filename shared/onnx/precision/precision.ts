// How a policy's matrices are stored and multiplied. A precision is a handful of small functions; the serving graph is
// written against this type and never sees numbers. Norms, rotary tables and attention are float32 in every precision.

import type { Tensor } from '../../model/safetensors.ts';
import type { ExternalDataFile } from '../external-data.ts';
import type { GraphBuilder } from '../graph-builder.ts';

export type Precision = {
  /** Why matrices with this many inputs cannot be stored so; null where they can. */
  refuse(inputs: number): string | null;
  /** Stores W [out, in] for `linear`. */
  storeLinear(file: ExternalDataFile, name: string, weight: Tensor): Promise<void>;
  /** x [N, in] → x Wᵀ [N, out] for each of the named W; what they share is computed once. */
  linear(graph: GraphBuilder, x: string, names: string[]): string[];
  /** Stores a table [V, d] for `embed`, for `head`, or, when it is tied, for both. */
  storeTable(file: ExternalDataFile, name: string, table: Tensor): Promise<void>;
  /** ids [N] → [N, d] */
  embed(graph: GraphBuilder, ids: string, name: string): string;
  /** h [rows, d] → logits [rows, V], the output of that name */
  head(graph: GraphBuilder, h: string, name: string, output: string): void;
};
