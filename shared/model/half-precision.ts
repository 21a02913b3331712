// Widens 16-bit floating-point numbers, given as their bits, to float32. Both are exact.

/** A bfloat16 is the upper half of a float32. */
export function widenBfloat16(source: Uint16Array, target: Float32Array): void {
  const bits = new Uint32Array(target.buffer, target.byteOffset, target.length);
  for (let i = 0; i < source.length; i++) bits[i] = source[i]! << 16;
}

export function widenFloat16(source: Uint16Array, target: Float32Array): void {
  const table = getFloat16Table();
  for (let i = 0; i < source.length; i++) target[i] = table[source[i]!]!;
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
