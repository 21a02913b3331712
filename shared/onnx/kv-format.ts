// How the KV cache is stored: as float32, or as 8-bit integers with one scale for each vector of a head. Decoding reads all
// of it for every token, so integers save three quarters of the memory and half of the time.
import type { Architecture } from '../model/architecture.ts';

export type KvFormat = 'float32' | 'int8';

/** The dimensions that determine the size of keys and values. */
export type KvShape = Pick<Architecture, 'layers' | 'kvHeads' | 'headDim'>;

/** One of a layer's arrays, in memory [rows, outer, T, inner]. As a tensor it has the dimensions `dims`. */
export type KvPlane = {
  /** The graph's input is `<name>.<layer>`. */
  name: 'past_key' | 'past_value' | 'past_key_scale' | 'past_value_scale';
  type: 'float32' | 'uint8';
  outer: number;
  inner: number;
  dims<D>(rows: D, allocated: D): (D | number)[];
};

/** Keys, values, and their scales if they have any. Integer keys are transposed, as their product with queries takes them. */
export function listKvPlanes({ kvHeads, headDim }: Omit<KvShape, 'layers'>, format: KvFormat): KvPlane[] {
  const vectors = (name: KvPlane['name'], type: KvPlane['type']): KvPlane => ({
    name,
    type,
    outer: kvHeads,
    inner: headDim,
    dims: (rows, allocated) => [rows, kvHeads, allocated, headDim],
  });
  if (format === 'float32') return [vectors('past_key', 'float32'), vectors('past_value', 'float32')];
  const scales = (name: KvPlane['name']): KvPlane => ({
    name,
    type: 'float32',
    outer: kvHeads,
    inner: 1,
    dims: (rows, allocated) => [rows, kvHeads, 1, allocated],
  });
  const keys: KvPlane = {
    name: 'past_key',
    type: 'uint8',
    outer: kvHeads * headDim,
    inner: 1,
    dims: (rows, allocated) => [rows, kvHeads, headDim, allocated],
  };
  return [keys, vectors('past_value', 'uint8'), scales('past_key_scale'), scales('past_value_scale')];
}

export function bytesPerElement({ type }: KvPlane): number {
  return type === 'uint8' ? Uint8Array.BYTES_PER_ELEMENT : Float32Array.BYTES_PER_ELEMENT;
}

/** Bytes per position of one sequence. */
export function kvBytesPerPosition(shape: KvShape, format: KvFormat): number {
  const perLayer = listKvPlanes(shape, format).map((plane) => plane.outer * plane.inner * bytesPerElement(plane));
  return shape.layers * perLayer.reduce((sum, bytes) => sum + bytes, 0);
}
