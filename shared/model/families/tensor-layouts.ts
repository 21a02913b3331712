// How a checkpoint keeps one or several of Attune's tensors as one of its own. Each form is its own way back.
import { transpose } from '../matrix.ts';
import type { Tensor } from '../safetensors.ts';
import { concatRows, splitRows } from '../stack.ts';

export type TensorLayout = {
  /** The shape of the stored tensor. */
  storedShape(parts: number[][]): number[];
  join(parts: Tensor[]): Tensor;
  /** The parts again, of these shapes. */
  split(stored: Tensor, parts: number[][]): Tensor[];
};

export const unchanged: TensorLayout = {
  storedShape: ([only]) => only!,
  join: ([only]) => only!,
  split: (stored) => [stored],
};

/** On top of each other. */
export const stacked: TensorLayout = {
  storedShape: (parts) => [parts.reduce((sum, [rows]) => sum + rows!, 0), ...parts[0]!.slice(1)],
  join: concatRows,
  split: (stored, parts) =>
    splitRows(
      stored,
      parts.map(([rows]) => rows!),
    ),
};

/** On top of each other and then [in, out], as GPT-2 keeps its matrices. */
export const stackedTransposed: TensorLayout = {
  storedShape: (parts) => stacked.storedShape(parts).toReversed(),
  join: (parts) => turn(concatRows(parts)),
  split: (stored, parts) => stacked.split(turn(stored), parts),
};

/** A norm's gain less one, as Gemma keeps it. */
export const minusOne: TensorLayout = {
  storedShape: ([only]) => only!,
  join: ([only]) => add(only!, -1),
  split: (stored) => [add(stored, 1)],
};

/** Queries, keys and values of the first head, then those of the second, and so on, as GPT-NeoX keeps them. */
export function interleavedByHead(headDim: number): TensorLayout {
  return {
    storedShape: stacked.storedShape,
    join: (parts) => permuteHeads(concatRows(parts), headDim, parts.length, true),
    split: (stored, parts) => stacked.split(permuteHeads(stored, headDim, parts.length, false), parts),
  };
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

function turn({ shape, data }: Tensor): Tensor {
  const [rows, columns] = shape as [number, number];
  return { shape: [columns, rows], data: transpose(data, rows, columns) };
}

function add({ shape, data }: Tensor, number: number): Tensor {
  return { shape, data: data.map((x) => x + number) };
}
