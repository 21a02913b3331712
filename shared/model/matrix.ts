// Operations on weight matrices before they are stored: transpose, concatenate, split, scale, magnitude.
import type { Tensor } from './tensor.ts';

/** [rows, columns] → [columns, rows], in tiles that fit the processor's cache. */
export function transpose<A extends Float32Array | Int8Array>(data: A, rows: number, columns: number): A {
  const transposed = new (data.constructor as new (length: number) => A)(data.length);
  const tile = 32;
  for (let top = 0; top < rows; top += tile) {
    for (let left = 0; left < columns; left += tile) {
      const bottom = Math.min(top + tile, rows);
      const right = Math.min(left + tile, columns);
      for (let row = top; row < bottom; row++) {
        for (let column = left; column < right; column++) {
          transposed[column * rows + row] = data[row * columns + column]!;
        }
      }
    }
  }
  return transposed;
}

/** Tensors [rows, …] → [sum of rows, …] */
export function concatRows(tensors: Tensor[]): Tensor {
  if (tensors.length === 1) return tensors[0]!;
  const rows = tensors.reduce((sum, { shape }) => sum + shape[0]!, 0);
  const data = new Float32Array(tensors.reduce((sum, tensor) => sum + tensor.data.length, 0));
  let offset = 0;
  for (const tensor of tensors) {
    data.set(tensor.data, offset);
    offset += tensor.data.length;
  }
  return { shape: [rows, ...tensors[0]!.shape.slice(1)], data };
}

/** [sum of rows, …] → one tensor [rows, …] for each entry of `rows` */
export function splitRows({ shape, data }: Tensor, rows: number[]): Tensor[] {
  const width = data.length / shape[0]!;
  let begin = 0;
  return rows.map((count) => {
    const part = data.slice(begin * width, (begin + count) * width);
    begin += count;
    return { shape: [count, ...shape.slice(1)], data: part };
  });
}

/** The largest magnitude in data[begin, end), or NaN if it contains one, so that damaged weights stay detectable. */
export function maxAbs(data: Float32Array, begin: number, end: number): number {
  let largest = 0;
  for (let i = begin; i < end; i++) {
    const magnitude = Math.abs(data[i]!);
    if (!(magnitude <= largest)) largest = magnitude;
  }
  return largest;
}

/** W diag(factors) of W [out, in], in place. */
export function scaleColumns(data: Float32Array, factors: Float32Array): Float32Array {
  for (let begin = 0; begin < data.length; begin += factors.length)
    for (let i = 0; i < factors.length; i++) data[begin + i]! *= factors[i]!;
  return data;
}

/** diag(factors) W of W [out, in], in place. */
export function scaleRows(data: Float32Array, factors: Float32Array): Float32Array {
  const width = data.length / factors.length;
  for (const [row, factor] of factors.entries())
    for (let i = row * width; i < (row + 1) * width; i++) data[i]! *= factor;
  return data;
}

/** Subtracts its mean from each row of [n, width], in place. */
export function subtractRowMeans(data: Float32Array, width: number): Float32Array {
  for (let begin = 0; begin < data.length; begin += width) {
    let sum = 0;
    for (let i = begin; i < begin + width; i++) sum += data[i]!;
    for (let i = begin; i < begin + width; i++) data[i]! -= sum / width;
  }
  return data;
}
