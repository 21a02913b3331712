// A minimal WebAssembly assembler for loops over arrays: each function returns the bytes of one folded expression of
// the text format (https://webassembly.github.io/spec/core/binary). Loads and stores name one of the module's memories.

export type Code = number[];
export type Type = 'i32' | 'f32' | 'f64' | 'v128';
const TYPES: Record<Type, number> = { i32: 0x7f, f32: 0x7d, f64: 0x7c, v128: 0x7b };

export type FunctionSource = {
  name: string;
  parameters: Type[];
  result?: Type;
  locals: Type[];
  body: Code;
};

/** LEB128 */
function unsigned(value: number): Code {
  const bytes: Code = [];
  let rest = value;
  do {
    bytes.push((rest & 127) | (rest > 127 ? 128 : 0));
    rest >>>= 7;
  } while (rest > 0);
  return bytes;
}

function simd(opcode: number, ...operands: Code[]): Code {
  return [...operands.flat(), 0xfd, ...unsigned(opcode)];
}

/** A memory, and the byte offset that is added to every address in it. */
export type Region = { memory: number; offset: number };

/** The memarg immediate: 16-byte alignment, memory index and offset. */
function memoryArgument({ memory, offset }: Region): Code {
  return [4 | 0x40, ...unsigned(memory), ...unsigned(offset)];
}

export const get = (local: number): Code => [0x20, ...unsigned(local)];
export const set = (local: number, value: Code): Code => [...value, 0x21, ...unsigned(local)];

export const i32 = {
  /** A constant from 0 to 63, which is one byte in LEB128. */
  small: (value: number): Code => [0x41, value],
  add: (a: Code, b: Code): Code => [...a, ...b, 0x6a],
  shiftLeft: (a: Code, b: Code): Code => [...a, ...b, 0x74],
  less: (a: Code, b: Code): Code => [...a, ...b, 0x49],
};
export const f64add = (a: Code, b: Code): Code => [...a, ...b, 0xa0];

export const v128 = {
  load: (region: Region, address: Code): Code => [...simd(0x00, address), ...memoryArgument(region)],
  store: (region: Region, address: Code, value: Code): Code => [
    ...simd(0x0b, address, value),
    ...memoryArgument(region),
  ],
  /** The upper two floats, moved to the lower half. */
  upper: (a: Code): Code => [...simd(0x0d, a, a), 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15],
};
export const f32x4 = {
  splat: (a: Code): Code => simd(0x13, a),
  sqrt: (a: Code): Code => simd(0xe3, a),
  add: (a: Code, b: Code): Code => simd(0xe4, a, b),
  sub: (a: Code, b: Code): Code => simd(0xe5, a, b),
  mul: (a: Code, b: Code): Code => simd(0xe6, a, b),
  div: (a: Code, b: Code): Code => simd(0xe7, a, b),
};
export const f64x2 = {
  fromLowerFloats: (a: Code): Code => simd(0x5f, a),
  add: (a: Code, b: Code): Code => simd(0xf0, a, b),
  mul: (a: Code, b: Code): Code => simd(0xf2, a, b),
  lane: (a: Code, lane: 0 | 1): Code => [...simd(0x21, a), lane],
};

/** Runs `body` at least once, and again while `condition` holds. */
export function doWhile(body: Code, condition: Code): Code {
  return [0x03, 0x40, ...body, ...condition, 0x0d, 0, 0x0b];
}

/** A module of these functions that imports its memories from `env` by these names. */
export function assemble(functions: FunctionSource[], memories: readonly string[]): WebAssembly.Module {
  const section = (id: number, content: Code) => [id, ...unsigned(content.length), ...content];
  const list = (items: Code[]) => [...unsigned(items.length), ...items.flat()];
  const text = (value: string) => list([...new TextEncoder().encode(value)].map((byte) => [byte]));
  const types = functions.map(({ parameters, result }) => [
    0x60,
    ...list(parameters.map((type) => [TYPES[type]])),
    ...list(result ? [[TYPES[result]]] : []),
  ]);
  const bodies = functions.map(({ locals, body }) => {
    const code = [...list(locals.map((type) => [1, TYPES[type]])), ...body, 0x0b];
    return [...unsigned(code.length), ...code];
  });
  return new WebAssembly.Module(
    Uint8Array.from([
      ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
      ...section(1, list(types)),
      ...section(2, list(memories.map((name) => [...text('env'), ...text(name), 0x02, 0x00, 0x01]))),
      ...section(3, list(functions.map((_, i) => unsigned(i)))),
      ...section(7, list(functions.map(({ name }, i) => [...text(name), 0x00, ...unsigned(i)]))),
      ...section(10, list(bodies)),
    ]),
  );
}
