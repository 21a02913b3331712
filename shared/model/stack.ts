// Tensors on top of each other, and apart again: how checkpoints and graphs keep several products as one.
import type { Tensor } from './safetensors.ts';

/** Tensors [rows, …] → [all rows, …] */
export function concatRows(tensors: Tensor[]): Tensor {
  const rows = tensors.reduce((sum, { shape }) => sum + shape[0]!, 0);
  const data = new Float32Array(tensors.reduce((sum, tensor) => sum + tensor.data.length, 0));
  let offset = 0;
  for (const tensor of tensors) {
    data.set(tensor.data, offset);
    offset += tensor.data.length;
  }
  return { shape: [rows, ...tensors[0]!.shape.slice(1)], data };
}

/** [all rows, …] → tensors of these many rows */
export function splitRows({ shape, data }: Tensor, rows: number[]): Tensor[] {
  const width = data.length / shape[0]!;
  let begin = 0;
  return rows.map((count) => {
    const part = data.slice(begin * width, (begin + count) * width);
    begin += count;
    return { shape: [count, ...shape.slice(1)], data: part };
  });
}
