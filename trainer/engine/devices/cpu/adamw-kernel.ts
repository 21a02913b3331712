// AdamW (Loshchilov and Hutter 2019) and the gradient norm as WebAssembly SIMD over flat buffers: 1.5 ns per element,
// against 5 in JavaScript and 9 in ONNX operators. Lengths are multiples of 4 floats.
import {
  assemble,
  type Code,
  doWhile,
  type FunctionSource,
  f32x4,
  f64add,
  f64x2,
  get,
  i32,
  type Region,
  set,
  type Type,
  v128,
} from './wasm-assembler.ts';

/** Each buffer has its own memory, in which every parameter has the same address. */
export const BUFFERS = ['weight', 'gradient', 'firstMoment', 'secondMoment'] as const;
export type BufferName = (typeof BUFFERS)[number];

/**
 * The byte offset of a buffer in its memory. It differs per buffer, because a processor stalls on accesses whose
 * addresses have equal low bits (4K aliasing).
 */
export function baseOffsetOf(buffer: BufferName): number {
  return BUFFERS.indexOf(buffer) * 2112;
}

/** Functions over `count` elements from the byte address `at`. */
export type Kernels = {
  /** Σ gradient², summed in double precision. */
  sumOfSquares(at: number, count: number): number;
  /**
   * m ← β₁ m + (1−β₁) s g;  v ← β₂ v + (1−β₂) (s g)²;  w ← decay · w − rate · m / (√v · correction + ε), where s scales
   * the gradient, rate = learning rate / (1−β₁ᵗ), correction = 1/√(1−β₂ᵗ), decay = 1 − learning rate · weight decay.
   */
  adamw(at: number, count: number, ...settings: AdamwSettings): void;
};
export type AdamwSettings = [
  scale: number,
  rate: number,
  correction: number,
  decay: number,
  beta1: number,
  oneMinusBeta1: number,
  beta2: number,
  oneMinusBeta2: number,
  epsilon: number,
];

/** A loop that runs `body` for every four elements; the first two locals are address and count. */
function overElements(end: number, body: Code): Code {
  return [
    ...set(end, i32.add(get(0), i32.shiftLeft(get(1), i32.small(2)))),
    ...doWhile([...body, ...set(0, i32.add(get(0), i32.small(16)))], i32.less(get(0), get(end))),
  ];
}

function load(buffer: BufferName): Code {
  return v128.load(regionOf(buffer), get(0));
}

function store(buffer: BufferName, value: Code): Code {
  return v128.store(regionOf(buffer), get(0), value);
}

function regionOf(buffer: BufferName): Region {
  return { memory: BUFFERS.indexOf(buffer), offset: baseOffsetOf(buffer) };
}

function sumOfSquaresSource(): FunctionSource {
  const [end, sum, lower, upper] = [2, 3, 4, 5];
  const square = (local: number) => f64x2.mul(get(local), get(local));
  return {
    name: 'sumOfSquares',
    parameters: ['i32', 'i32'],
    result: 'f64',
    locals: ['i32', 'v128', 'v128', 'v128'],
    body: [
      ...overElements(end, [
        ...set(lower, f64x2.fromLowerFloats(load('gradient'))),
        ...set(upper, f64x2.fromLowerFloats(v128.upper(load('gradient')))),
        ...set(sum, f64x2.add(get(sum), f64x2.add(square(lower), square(upper)))),
      ]),
      ...f64add(f64x2.lane(get(sum), 0), f64x2.lane(get(sum), 1)),
    ],
  };
}

function adamwSource(): FunctionSource {
  const settings = 9;
  const end = 2 + settings;
  const [gradient, first, second] = [end + 1, end + 2, end + 3];
  // Each setting is broadcast to four lanes once, before the loop.
  const lanes = Array.from({ length: settings }, (_, i) => second + 1 + i);
  const [scale, rate, correction, decay, beta1, oneMinusBeta1, beta2, oneMinusBeta2, epsilon] = lanes.map(get) as [
    ...[Code, Code, Code, Code, Code, Code, Code, Code, Code],
  ];
  const update = f32x4.div(
    f32x4.mul(get(first), rate),
    f32x4.add(f32x4.mul(f32x4.sqrt(get(second)), correction), epsilon),
  );
  const squared = f32x4.mul(get(gradient), get(gradient));
  return {
    name: 'adamw',
    parameters: ['i32', 'i32', ...Array<Type>(settings).fill('f32')],
    locals: ['i32', ...Array<Type>(3 + settings).fill('v128')],
    body: [
      ...lanes.flatMap((local, i) => set(local, f32x4.splat(get(2 + i)))),
      ...overElements(end, [
        ...set(gradient, f32x4.mul(load('gradient'), scale)),
        ...set(first, f32x4.add(f32x4.mul(load('firstMoment'), beta1), f32x4.mul(get(gradient), oneMinusBeta1))),
        ...set(second, f32x4.add(f32x4.mul(load('secondMoment'), beta2), f32x4.mul(squared, oneMinusBeta2))),
        ...store('firstMoment', get(first)),
        ...store('secondMoment', get(second)),
        ...store('weight', f32x4.sub(f32x4.mul(load('weight'), decay), update)),
      ]),
    ],
  };
}

export function openKernels(memories: Record<BufferName, WebAssembly.Memory>): Kernels {
  const module = assemble([sumOfSquaresSource(), adamwSource()], BUFFERS);
  return new WebAssembly.Instance(module, { env: memories }).exports as unknown as Kernels;
}
