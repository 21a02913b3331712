// ggml's block types Q8_0 and Q4_0: 32 consecutive numbers share one float16 scale.
export const BLOCK_SIZE = 32;
/** Bytes per block. */
export const Q8_BYTES = 2 + BLOCK_SIZE;
export const Q4_BYTES = 2 + BLOCK_SIZE / 2;

/** Block: float16 scale, 32 signed bytes. */
export function encodeQ8(data: Float32Array): Uint8Array {
  return encodeBlocks(data, Q8_BYTES, (block, bytes, view) => {
    const largest = block.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    const scale = largest / 127;
    view.setFloat16(0, scale, true);
    for (let i = 0; i < BLOCK_SIZE; i++) bytes[2 + i] = scale === 0 ? 0 : Math.round(block[i]! / scale);
  });
}

/** Block: float16 scale, 32 times 4 bits with number i beside number i + 16; the largest magnitude becomes −8. */
export function encodeQ4(data: Float32Array): Uint8Array {
  return encodeBlocks(data, Q4_BYTES, (block, bytes, view) => {
    const largest = block.reduce((most, x) => (Math.abs(x) > Math.abs(most) ? x : most), 0);
    const scale = largest / -8;
    view.setFloat16(0, scale, true);
    const level = (x: number) => (scale === 0 ? 8 : Math.min(15, Math.floor(x / scale + 8.5)));
    for (let i = 0; i < BLOCK_SIZE / 2; i++) bytes[2 + i] = level(block[i]!) | (level(block[i + BLOCK_SIZE / 2]!) << 4);
  });
}

function encodeBlocks(
  data: Float32Array,
  blockBytes: number,
  encode: (block: Float32Array, bytes: Uint8Array, view: DataView) => void,
): Uint8Array {
  const encoded = new Uint8Array((data.length / BLOCK_SIZE) * blockBytes);
  for (let at = 0, to = 0; at < data.length; at += BLOCK_SIZE, to += blockBytes) {
    const view = new DataView(encoded.buffer, to, blockBytes);
    encode(data.subarray(at, at + BLOCK_SIZE), encoded.subarray(to, to + blockBytes), view);
  }
  return encoded;
}
