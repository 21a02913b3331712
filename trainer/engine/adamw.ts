// AdamW (Loshchilov and Hutter 2019) and what goes with it, as WebAssembly SIMD over flat arrays: 1.6 ns an element
// where JavaScript takes 5 and ONNX operators 9. Arrays are given by byte address and hold a multiple of 4 floats.
import {
  assemble,
  type Code,
  type FunctionSource,
  f32x4,
  f64add,
  f64x2,
  get,
  i32,
  repeatWhile,
  set,
  type Type,
  v128,
} from './wasm.ts';

export type Kernels = {
  /** Σ x², in double precision. */
  sumOfSquares(x: number, count: number): number;
  /** target += source */
  add(target: number, source: number, count: number): void;
  /**
   * m = β₁m + (1−β₁)gs;  v = β₂v + (1−β₂)(gs)²;  w = w·decay − m·rate / (√v · correction + ε), where s scales the
   * gradient, rate = learning rate / (1−β₁ᵗ), correction = 1/√(1−β₂ᵗ), decay = 1 − learning rate · weight decay.
   */
  adamw(w: number, m: number, v: number, g: number, count: number, ...settings: AdamwSettings): void;
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

/** A loop over arrays whose addresses are the first locals, `count` being the one after them. */
function overArrays(arrays: number, end: number, body: Code): Code {
  const addresses = Array.from({ length: arrays }, (_, local) => local);
  return [
    ...set(end, i32.add(get(0), i32.shiftLeft(get(arrays), i32.small(2)))),
    ...repeatWhile(
      [...body, ...addresses.flatMap((local) => set(local, i32.add(get(local), i32.small(16))))],
      i32.less(get(0), get(end)),
    ),
  ];
}

function sumOfSquaresSource(): FunctionSource {
  const [x, , end, sum, lower, upper] = [0, 1, 2, 3, 4, 5];
  const square = (local: number) => f64x2.mul(get(local), get(local));
  return {
    name: 'sumOfSquares',
    parameters: ['i32', 'i32'],
    result: 'f64',
    locals: ['i32', 'v128', 'v128', 'v128'],
    body: [
      ...overArrays(1, end, [
        ...set(lower, f64x2.fromLowerFloats(v128.load(get(x)))),
        ...set(upper, f64x2.fromLowerFloats(v128.upper(v128.load(get(x))))),
        ...set(sum, f64x2.add(get(sum), f64x2.add(square(lower), square(upper)))),
      ]),
      ...f64add(f64x2.lane(get(sum), 0), f64x2.lane(get(sum), 1)),
    ],
  };
}

function addSource(): FunctionSource {
  const [target, source, , end] = [0, 1, 2, 3];
  return {
    name: 'add',
    parameters: ['i32', 'i32', 'i32'],
    locals: ['i32'],
    body: overArrays(2, end, v128.store(get(target), f32x4.add(v128.load(get(target)), v128.load(get(source))))),
  };
}

function adamwSource(): FunctionSource {
  const [w, m, v, g, count] = [0, 1, 2, 3, 4];
  const settings = 9;
  const end = count + settings + 1;
  const [gradient, first, second] = [end + 1, end + 2, end + 3];
  // Each setting is spread over four lanes once, before the loop.
  const spread = Array.from({ length: settings }, (_, i) => second + 1 + i);
  const [scale, rate, correction, decay, beta1, oneMinusBeta1, beta2, oneMinusBeta2, epsilon] = spread.map(get) as [
    ...[Code, Code, Code, Code, Code, Code, Code, Code, Code],
  ];
  const update = f32x4.div(
    f32x4.mul(get(first), rate),
    f32x4.add(f32x4.mul(f32x4.sqrt(get(second)), correction), epsilon),
  );
  return {
    name: 'adamw',
    parameters: [...Array<Type>(5).fill('i32'), ...Array<Type>(settings).fill('f32')],
    locals: ['i32', ...Array<Type>(3 + settings).fill('v128')],
    body: [
      ...spread.flatMap((local, i) => set(local, f32x4.splat(get(count + 1 + i)))),
      ...overArrays(4, end, [
        ...set(gradient, f32x4.mul(v128.load(get(g)), scale)),
        ...set(first, f32x4.add(f32x4.mul(v128.load(get(m)), beta1), f32x4.mul(get(gradient), oneMinusBeta1))),
        ...set(
          second,
          f32x4.add(
            f32x4.mul(v128.load(get(v)), beta2),
            f32x4.mul(f32x4.mul(get(gradient), get(gradient)), oneMinusBeta2),
          ),
        ),
        ...v128.store(get(m), get(first)),
        ...v128.store(get(v), get(second)),
        ...v128.store(get(w), f32x4.sub(f32x4.mul(v128.load(get(w)), decay), update)),
      ]),
    ],
  };
}

export function openKernels(memory: WebAssembly.Memory): Kernels {
  const module = assemble([sumOfSquaresSource(), addSource(), adamwSource()]);
  return new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as Kernels;
}
