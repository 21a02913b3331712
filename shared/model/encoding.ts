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
  float16Table ??= Float32Array.from({ length: 65536 }, (_, bits) => float16ToFloat32(bits));
  return float16Table;
}

function float16ToFloat32(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 0x3ff;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
}
