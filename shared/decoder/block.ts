// Keys and values of consecutive positions of one sequence, by themselves: what a chunk of a prompt leaves behind, to be
// written into any row of a cache, now or when another prompt begins with the same tokens.
import type { Architecture } from '../model/architecture.ts';

/** What the size of keys and values depends on. */
export type KvShape = Pick<Architecture, 'layers' | 'kvHeads' | 'headDim'>;

/** data [layers · 2, KV, length, hd]: per layer the keys, then the values. */
export type KvBlock = { length: number; data: Float32Array };

/** Bytes that one position of one sequence takes. */
export function positionBytes({ layers, kvHeads, headDim }: KvShape): number {
  return layers * 2 * kvHeads * headDim * Float32Array.BYTES_PER_ELEMENT;
}

/** new_kv [rows, layers · 2 · KV, steps, hd] → the first `length` positions of one row. */
export function takeBlock(shape: KvShape, fresh: Float32Array, row: number, steps: number, length: number): KvBlock {
  const { headDim } = shape;
  const heads = shape.layers * 2 * shape.kvHeads;
  const own = fresh.subarray(row * heads * steps * headDim, (row + 1) * heads * steps * headDim);
  if (own.length === fresh.length && length === steps) return { length, data: own };
  const data = new Float32Array(heads * length * headDim);
  for (let head = 0; head < heads; head++) {
    const begin = head * steps * headDim;
    data.set(own.subarray(begin, begin + length * headDim), head * length * headDim);
  }
  return { length, data };
}
