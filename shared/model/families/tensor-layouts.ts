// How a checkpoint stores one or several of Attune's tensors as a single tensor. Every layout is invertible.
import { concatRows, splitRows, transpose } from '../matrix.ts';
import type { Tensor } from '../tensor.ts';

export type TensorLayout = {
  /** Shapes of the parts → shape of the stored tensor. */
  storedShape(parts: number[][]): number[];
  join(parts: Tensor[]): Tensor;
  /** The inverse of join; `parts` are their shapes. */
  split(stored: Tensor, parts: number[][]): Tensor[];
};

export const unchanged: TensorLayout = {
  storedShape: ([only]) => only!,
  join: ([only]) => only!,
  split: (stored) => [stored],
};

/** The parts' rows, concatenated. */
export const stacked: TensorLayout = {
  storedShape: (parts) => [parts.reduce((sum, [rows]) => sum + rows!, 0), ...parts[0]!.slice(1)],
  join: concatRows,
  split: (stored, parts) =>
    splitRows(
      stored,
      parts.map(([rows]) => rows!),
    ),
};

/** Rows concatenated, then transposed to [in, out]: GPT-2. */
export const stackedTransposed: TensorLayout = {
  storedShape: (parts) => stacked.storedShape(parts).toReversed(),
  join: (parts) => transposeTensor(concatRows(parts)),
  split: (stored, parts) => stacked.split(transposeTensor(stored), parts),
};

/** A norm's weight minus 1: Gemma. */
export const minusOne: TensorLayout = {
  storedShape: ([only]) => only!,
  join: ([only]) => add(only!, -1),
  split: (stored) => [add(stored, 1)],
};

/** Queries, keys and values of the first head, then those of the second, and so on: GPT-NeoX. */
export function interleavedByHead(headDim: number): TensorLayout {
  return {
    storedShape: stacked.storedShape,
    join: (parts) => permuteHeads(concatRows(parts), headDim, parts.length, true),
    split: (stored, parts) => stacked.split(permuteHeads(stored, headDim, parts.length, false), parts),
  };
}

/**
 * Hugging Face rotates row i of a head with row i + hd/2; GGUF files of Llama and llama2.c store the two next to each
 * other: rows [heads, 2, hd/2] ↔ [heads, hd/2, 2].
 */
export function adjacentPairs(headDim: number): TensorLayout {
  return {
    storedShape: ([only]) => only!,
    join: ([only]) => permuteRows(only!, headDim, (row) => 2 * (row % (headDim / 2)) + Math.floor(row / (headDim / 2))),
    split: (stored) => [permuteRows(stored, headDim, (row) => (row % 2) * (headDim / 2) + (row >> 1))],
  };
}

/** Moves row `row` of each head to `target(row)`. */
function permuteRows({ shape, data }: Tensor, headDim: number, target: (row: number) => number): Tensor {
  const width = data.length / shape[0]!;
  const moved = new Float32Array(data.length);
  for (let row = 0; row < shape[0]!; row++) {
    const inHead = row % headDim;
    moved.set(data.subarray(row * width, (row + 1) * width), (row - inHead + target(inHead)) * width);
  }
  return { shape, data: moved };
}

/** Rows [kinds, heads, headDim] ↔ [heads, kinds, headDim] */
function permuteHeads({ shape, data }: Tensor, headDim: number, kinds: number, intoHeads: boolean): Tensor {
  const size = (data.length / shape[0]!) * headDim;
  const heads = shape[0]! / (headDim * kinds);
  const moved = new Float32Array(data.length);
  for (let kind = 0; kind < kinds; kind++) {
    for (let head = 0; head < heads; head++) {
      const byKind = (kind * heads + head) * size;
      const grouped = (head * kinds + kind) * size;
      const [from, to] = intoHeads ? [byKind, grouped] : [grouped, byKind];
      moved.set(data.subarray(from, from + size), to);
    }
  }
  return { shape, data: moved };
}

function transposeTensor({ shape, data }: Tensor): Tensor {
  const [rows, columns] = shape as [number, number];
  return { shape: [columns, rows], data: transpose(data, rows, columns) };
}

function add({ shape, data }: Tensor, number: number): Tensor {
  return { shape, data: data.map((x) => x + number) };
}
