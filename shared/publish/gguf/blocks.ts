// ggml's quantized tensor types (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). In types 0 and 1 a block of
// 32 numbers shares a float16 scale d, and in type 1 an offset m: x = d·q, or d·q + m. In K types a block of 256 numbers
// consists of sub-blocks whose scales and offsets are small integers times the block's d and m: x = d·s·q − m·o.
import type { Encoding } from '../../model/encoding.ts';

/** Decodes the block at `at` of `bytes` to target[to, to + values). */
type DecodeBlock = (bytes: Uint8Array, at: number, target: Float32Array, to: number, half: HalfReader) => void;
type HalfReader = (at: number) => number;

function blocks(values: 32 | 256, bytes: number, decodeBlock: DecodeBlock): Encoding {
  return {
    values,
    bytes,
    decode(source, target) {
      const view = new DataView(source.buffer, source.byteOffset, source.byteLength);
      const half = (at: number) => view.getFloat16(at, true);
      for (let at = 0, to = 0; at < source.length; at += bytes, to += values) decodeBlock(source, at, target, to, half);
    },
  };
}

/** Numbers i and i + 16 share a byte. */
export const Q4_0 = blocks(32, 18, (bytes, at, target, to, half) => {
  const d = half(at);
  for (let i = 0; i < 16; i++) {
    const pair = bytes[at + 2 + i]!;
    target[to + i] = d * ((pair & 15) - 8);
    target[to + 16 + i] = d * ((pair >> 4) - 8);
  }
});

export const Q4_1 = blocks(32, 20, (bytes, at, target, to, half) => {
  const d = half(at);
  const m = half(at + 2);
  for (let i = 0; i < 16; i++) {
    const pair = bytes[at + 4 + i]!;
    target[to + i] = d * (pair & 15) + m;
    target[to + 16 + i] = d * (pair >> 4) + m;
  }
});

/** The fifth bits of all 32 numbers are one integer. */
export const Q5_0 = blocks(32, 22, (bytes, at, target, to, half) => {
  const d = half(at);
  const fifths = readUint32(bytes, at + 2);
  for (let i = 0; i < 16; i++) {
    const pair = bytes[at + 6 + i]!;
    target[to + i] = d * (((pair & 15) | (((fifths >>> i) & 1) << 4)) - 16);
    target[to + 16 + i] = d * (((pair >> 4) | (((fifths >>> (i + 16)) & 1) << 4)) - 16);
  }
});

export const Q5_1 = blocks(32, 24, (bytes, at, target, to, half) => {
  const d = half(at);
  const m = half(at + 2);
  const fifths = readUint32(bytes, at + 4);
  for (let i = 0; i < 16; i++) {
    const pair = bytes[at + 8 + i]!;
    target[to + i] = d * ((pair & 15) | (((fifths >>> i) & 1) << 4)) + m;
    target[to + 16 + i] = d * ((pair >> 4) | (((fifths >>> (i + 16)) & 1) << 4)) + m;
  }
});

export const Q8_0 = blocks(32, 34, (bytes, at, target, to, half) => {
  const d = half(at);
  for (let i = 0; i < 32; i++) target[to + i] = d * toSigned(bytes[at + 2 + i]!);
});

/** 16 sub-blocks of 16. Byte: scale, 4 bits, and offset, 4 bits. Four numbers, 32 apart, share a byte. */
export const Q2_K = blocks(256, 84, (bytes, at, target, to, half) => {
  const d = half(at + 80);
  const m = half(at + 82);
  for (let i = 0; i < 256; i++) {
    const scale = bytes[at + (i >> 4)]!;
    const q = (bytes[at + 16 + packedByte(i)]! >> (2 * ((i >> 5) & 3))) & 3;
    target[to + i] = d * (scale & 15) * q - m * (scale >> 4);
  }
});

/** 16 sub-blocks of 16. The third bits are apart: bit n of byte i belongs to number 32·n + i. */
export const Q3_K = blocks(256, 110, (bytes, at, target, to, half) => {
  const d = half(at + 108);
  for (let block = 0; block < 16; block++) {
    const low = (bytes[at + 96 + (block & 7)]! >> (block < 8 ? 0 : 4)) & 15;
    const high = (bytes[at + 104 + (block & 3)]! >> (2 * (block >> 2))) & 3;
    const scale = d * ((low | (high << 4)) - 32);
    for (let i = 16 * block; i < 16 * block + 16; i++) {
      const q = (bytes[at + 32 + packedByte(i)]! >> (2 * ((i >> 5) & 3))) & 3;
      const third = (bytes[at + (i & 31)]! >> (i >> 5)) & 1;
      target[to + i] = scale * ((q | (third << 2)) - 4);
    }
  }
});

/** Where the two low bits of number i of 256 are, if four numbers, 32 apart, share a byte. */
function packedByte(i: number): number {
  return 32 * (i >> 7) + (i & 31);
}

/** 8 sub-blocks of 32, two of which share bytes. Bit n of byte i of `fifths`, if there are any, belongs to number i of n. */
function pairedSubBlocks(size: number, numbers: number, fifths: number | null): Encoding {
  return blocks(256, size, (bytes, at, target, to, half) => {
    const d = half(at);
    const m = half(at + 2);
    for (let block = 0; block < 8; block++) {
      const scale = d * subBlockScale(bytes, at + 4, block);
      const offset = m * subBlockOffset(bytes, at + 4, block);
      const shift = 4 * (block & 1);
      const first = at + numbers + 32 * (block >> 1);
      for (let i = 0; i < 32; i++) {
        const fifth = fifths === null ? 0 : (bytes[at + fifths + i]! >> block) & 1;
        target[to + 32 * block + i] = scale * (((bytes[first + i]! >> shift) & 15) | (fifth << 4)) - offset;
      }
    }
  });
}

export const Q4_K = pairedSubBlocks(144, 16, null);
export const Q5_K = pairedSubBlocks(176, 48, 16);

/** Six bits of 12 bytes: those of the last four sub-blocks are split between their own byte and those of the first. */
function subBlockScale(bytes: Uint8Array, at: number, block: number): number {
  if (block < 4) return bytes[at + block]! & 63;
  return (bytes[at + block + 4]! & 15) | ((bytes[at + block - 4]! >> 6) << 4);
}

function subBlockOffset(bytes: Uint8Array, at: number, block: number): number {
  if (block < 4) return bytes[at + block + 4]! & 63;
  return (bytes[at + block + 4]! >> 4) | ((bytes[at + block]! >> 6) << 4);
}

/** 16 sub-blocks of 16 with signed scales. In each half, four low bits two to a byte, two high bits four to a byte. */
export const Q6_K = blocks(256, 210, (bytes, at, target, to, half) => {
  const d = half(at + 208);
  for (let i = 0; i < 256; i++) {
    const scale = d * toSigned(bytes[at + 192 + (i >> 4)]!);
    const low = (bytes[at + 64 * (i >> 7) + (i & 63)]! >> (4 * ((i >> 6) & 1))) & 15;
    const high = (bytes[at + 128 + packedByte(i)]! >> (2 * ((i >> 5) & 3))) & 3;
    target[to + i] = scale * ((low | (high << 4)) - 32);
  }
});

function toSigned(byte: number): number {
  return (byte << 24) >> 24;
}

function readUint32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}
