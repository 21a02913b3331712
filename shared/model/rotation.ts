// Orthogonal matrices that spread the outliers of a vector over all of its entries, so that it quantizes well (QuaRot,
// Ashkboos et al., arXiv 2404.00456). R = diag(signs) · (Q ⊗ H): random signs, a Hadamard matrix H of the largest power of
// two that divides the size, and a random orthogonal Q for the odd rest. It is applied in d log d operations.
import { mulberry32 } from '../random.ts';

export type Rotation = {
  size: number;
  /** Of H, a power of two. */
  block: number;
  /** ±1 [size], or null for none. */
  signs: Float64Array | null;
  /** Q [size / block, size / block]; null if that is 1. */
  mix: Float64Array | null;
};

/** A random rotation, the same for a size and seed on every machine. */
export function createRotation(size: number, seed: number): Rotation {
  const block = largestPowerOfTwo(size);
  const random = mulberry32(seed);
  const signs = Float64Array.from({ length: size }, () => (random() < 0.5 ? -1 : 1));
  const rest = size / block;
  return { size, block, signs, mix: rest > 1 ? randomOrthogonal(rest, random) : null };
}

/** H alone: symmetric, and its own inverse. */
export function createHadamard(size: number): Rotation {
  return { size, block: size, signs: null, mix: null };
}

/** H as a matrix [size, size]. */
export function hadamardMatrix(size: number): Float32Array {
  const matrix = new Float32Array(size ** 2);
  for (let i = 0; i < size; i++) matrix[i * (size + 1)] = 1;
  rotateRows(matrix, createHadamard(size));
  return matrix;
}

/** The largest power of two that divides `size`, at most `limit`. */
export function largestPowerOfTwo(size: number, limit = size): number {
  let power = 1;
  while (power * 2 <= limit && size % (power * 2) === 0) power *= 2;
  return power;
}

/** x R for each row x of data [n, size], in place. */
export function rotateRows(data: Float32Array, rotation: Rotation): void {
  const { size, block, signs, mix } = rotation;
  const row = new Float64Array(size);
  const mixed = mix ? new Float64Array(size) : row;
  const scale = 1 / Math.sqrt(block);
  for (let begin = 0; begin < data.length; begin += size) {
    for (let i = 0; i < size; i++) row[i] = signs ? data[begin + i]! * signs[i]! : data[begin + i]!;
    for (let start = 0; start < size; start += block) transformHadamard(row, start, block);
    if (mix) mixBlocks(row, mixed, mix, block);
    for (let i = 0; i < size; i++) data[begin + i] = mixed[i]! * scale;
  }
}

/** The fast Walsh-Hadamard transform of x[start, start + size), not normalized. */
function transformHadamard(x: Float64Array, start: number, size: number): void {
  const end = start + size;
  for (let half = 1; half < size; half *= 2) {
    for (let low = start; low < end; low += 2 * half) {
      for (let i = low; i < low + half; i++) {
        const a = x[i]!;
        const b = x[i + half]!;
        x[i] = a + b;
        x[i + half] = a - b;
      }
    }
  }
}

/** x [n, block] → Qᵀ x, which is x (Q ⊗ I) of the flat vector. */
function mixBlocks(x: Float64Array, out: Float64Array, mix: Float64Array, block: number): void {
  const count = x.length / block;
  out.fill(0);
  for (let from = 0; from < count; from++) {
    for (let to = 0; to < count; to++) {
      const factor = mix[from * count + to]!;
      for (let i = 0; i < block; i++) out[to * block + i]! += factor * x[from * block + i]!;
    }
  }
}

/** Gram-Schmidt on normal vectors, twice, so that they are orthogonal to the last digits. */
function randomOrthogonal(size: number, random: () => number): Float64Array {
  const matrix = new Float64Array(size * size);
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  for (let row = 0; row < size; row++) {
    const vector = Float64Array.from({ length: size }, normal);
    for (const _pass of [1, 2]) {
      for (let other = 0; other < row; other++) {
        const previous = matrix.subarray(other * size, (other + 1) * size);
        const overlap = dot(vector, previous);
        for (let i = 0; i < size; i++) vector[i]! -= overlap * previous[i]!;
      }
      const length = Math.sqrt(dot(vector, vector));
      for (let i = 0; i < size; i++) vector[i]! /= length;
    }
    matrix.set(vector, row * size);
  }
  return matrix;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}
