// How checkpoints store the numbers of a tensor, in blocks of bytes, and how these become float32. The 16-bit formats
// widen exactly.

export type Encoding = {
  /** Numbers and bytes of a block. */
  values: number;
  bytes: number;
  /** Decodes whole blocks. */
  decode(source: Uint8Array, target: Float32Array): void;
};

export const FLOAT32: Encoding = {
  values: 1,
  bytes: 4,
  decode: (source, target) => new Uint8Array(target.buffer, target.byteOffset, target.byteLength).set(source),
};

export const FLOAT16: Encoding = {
  values: 1,
  bytes: 2,
  decode(source, target) {
    const halves = toHalves(source);
    const table = getFloat16Table();
    for (let i = 0; i < halves.length; i++) target[i] = table[halves[i]!]!;
  },
};

/** A bfloat16 is the upper half of a float32. */
export const BFLOAT16: Encoding = {
  values: 1,
  bytes: 2,
  decode(source, target) {
    const halves = toHalves(source);
    const bits = new Uint32Array(target.buffer, target.byteOffset, target.length);
    for (let i = 0; i < halves.length; i++) bits[i] = halves[i]! << 16;
  },
};

function toHalves(source: Uint8Array): Uint16Array {
  return new Uint16Array(source.buffer, source.byteOffset, source.length / 2);
}

let float16Table: Float32Array | undefined;

/** All 65,536 values by their bits: looking them up is faster than decoding the exponent of every weight. */
function getFloat16Table(): Float32Array {
  float16Table ??= Float32Array.from(new Float16Array(Uint16Array.from({ length: 65536 }, (_, bits) => bits).buffer));
  return float16Table;
}
