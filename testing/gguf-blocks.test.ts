import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BLOCK_SIZE, encodeQ4, encodeQ8, Q4_BYTES, Q8_BYTES } from './gguf-blocks.ts';

const numbers = Float32Array.from({ length: 2 * BLOCK_SIZE }, (_, i) => Math.sin(i) * (i < BLOCK_SIZE ? 1 : 50));

/** Decodes blocks as ggml's documentation describes them. */
function decode(bytes: Uint8Array, blockBytes: number, level: (block: Uint8Array, i: number) => number): number[] {
  return Array.from({ length: numbers.length }, (_, at) => {
    const block = bytes.subarray(
      Math.floor(at / BLOCK_SIZE) * blockBytes,
      (Math.floor(at / BLOCK_SIZE) + 1) * blockBytes,
    );
    const scale = new DataView(block.buffer, block.byteOffset).getFloat16(0, true);
    return scale * level(block.subarray(2), at % BLOCK_SIZE);
  });
}

function maxError(decoded: number[], block: number): number {
  const errors = decoded.map((value, at) => Math.abs(value - numbers[at]!));
  return Math.max(...errors.slice(block * BLOCK_SIZE, (block + 1) * BLOCK_SIZE));
}

test('Q8_0 is accurate to half a step of each block', () => {
  const encoded = encodeQ8(numbers);
  assert.equal(encoded.length, 2 * Q8_BYTES);
  const decoded = decode(encoded, Q8_BYTES, (levels, i) => (levels[i]! << 24) >> 24);
  assert.ok(maxError(decoded, 0) < 0.52 / 127, `${maxError(decoded, 0)}`);
  assert.ok(maxError(decoded, 1) < (50 * 0.52) / 127, `${maxError(decoded, 1)}`);
});

test('Q4_0 is accurate to one step of each block, and exact for the largest magnitude', () => {
  const encoded = encodeQ4(numbers);
  assert.equal(encoded.length, 2 * Q4_BYTES);
  const half = BLOCK_SIZE / 2;
  const decoded = decode(encoded, Q4_BYTES, (levels, i) => (i < half ? levels[i]! & 15 : levels[i - half]! >> 4) - 8);
  assert.ok(maxError(decoded, 0) < 1.01 / 8, `${maxError(decoded, 0)}`);
  assert.ok(maxError(decoded, 1) < (50 * 1.01) / 8, `${maxError(decoded, 1)}`);
  const largest = numbers
    .subarray(0, BLOCK_SIZE)
    .reduce((at, x, i, all) => (Math.abs(x) > Math.abs(all[at]!) ? i : at), 0);
  assert.ok(Math.abs(decoded[largest]! - numbers[largest]!) < 1e-3);
});

test('a block of zeros stays zero', () => {
  const zeros = new Float32Array(BLOCK_SIZE);
  assert.deepEqual(new Set(encodeQ8(zeros)), new Set([0]));
  // Q4_0 levels are unsigned: 8 is zero.
  assert.deepEqual(new Set(encodeQ4(zeros).subarray(2)), new Set([0x88]));
});
