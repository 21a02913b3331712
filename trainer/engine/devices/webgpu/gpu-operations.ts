// The arithmetic of an optimizer step on tensors that stay on the GPU: each operation is a small ONNX graph that ONNX
// Runtime's WebGPU provider runs. A run makes new buffers and never writes into old ones (the binding ignores an output
// that it is given), so whoever replaces a tensor frees the old one.
import { InferenceSession, type Tensor } from 'onnxruntime-node';
import { type OnnxNode, type ValueInfo, writeOnnxModel } from '../../../../shared/onnx/model-proto.ts';

/** What a program's or an operation's outputs are: buffers on the GPU, or arrays in memory. */
export type Place = 'gpu-buffer' | 'cpu';

type Operation<Input extends string, Output extends string> = {
  name: string;
  inputs: readonly Input[];
  /** Inputs that are one number. */
  scalars: readonly Input[];
  /** Output, operator, operands; each operation is written down in the order in which it runs. */
  steps: readonly (readonly [output: string, operator: string, ...operands: string[]])[];
  outputs: readonly Output[];
  /** Outputs that are one number. */
  reduced?: readonly Output[];
  place: Place;
};

export const upload: Operation<'x', 'y'> = {
  name: 'upload',
  inputs: ['x'],
  scalars: [],
  steps: [['y', 'Identity', 'x']],
  outputs: ['y'],
  place: 'gpu-buffer',
};

export const download: Operation<'x', 'y'> = { ...upload, name: 'download', place: 'cpu' };

export const add: Operation<'a' | 'b', 'sum'> = {
  name: 'add',
  inputs: ['a', 'b'],
  scalars: [],
  steps: [['sum', 'Add', 'a', 'b']],
  outputs: ['sum'],
  place: 'gpu-buffer',
};

/** total + Σ x² */
export const addSquares: Operation<'x' | 'total', 'sum'> = {
  name: 'addSquares',
  inputs: ['x', 'total'],
  scalars: ['total'],
  steps: [
    ['squares', 'ReduceSumSquare', 'x'],
    ['sum', 'Add', 'total', 'squares'],
  ],
  outputs: ['sum'],
  reduced: ['sum'],
  place: 'gpu-buffer',
};

const numbers = ['scale', 'rate', 'correction', 'decay', 'beta1', 'rest1', 'beta2', 'rest2', 'epsilon'] as const;
export type AdamwNumber = (typeof numbers)[number];

/** AdamW's numbers are those of the WebAssembly kernel; see ../adamw.ts. */
export const adamw: Operation<
  'weight' | 'first' | 'second' | 'gradient' | AdamwNumber,
  'nextWeight' | 'nextFirst' | 'nextSecond'
> = {
  name: 'adamw',
  inputs: ['weight', 'first', 'second', 'gradient', ...numbers],
  scalars: numbers,
  steps: [
    ['g', 'Mul', 'gradient', 'scale'],
    ['oldFirst', 'Mul', 'first', 'beta1'],
    ['newFirst', 'Mul', 'g', 'rest1'],
    ['nextFirst', 'Add', 'oldFirst', 'newFirst'],
    ['square', 'Mul', 'g', 'g'],
    ['oldSecond', 'Mul', 'second', 'beta2'],
    ['newSecond', 'Mul', 'square', 'rest2'],
    ['nextSecond', 'Add', 'oldSecond', 'newSecond'],
    ['root', 'Sqrt', 'nextSecond'],
    ['corrected', 'Mul', 'root', 'correction'],
    ['slope', 'Add', 'corrected', 'epsilon'],
    ['step', 'Mul', 'nextFirst', 'rate'],
    ['change', 'Div', 'step', 'slope'],
    ['decayed', 'Mul', 'weight', 'decay'],
    ['nextWeight', 'Sub', 'decayed', 'change'],
  ],
  outputs: ['nextWeight', 'nextFirst', 'nextSecond'],
  place: 'gpu-buffer',
};

/** A session whose outputs stay where `places` says; nothing is computed on the CPU if `strict`, or it is refused. */
export function openSession(
  model: Uint8Array,
  places: Place | Record<string, Place>,
  strict = false,
): Promise<InferenceSession> {
  return InferenceSession.create(model, {
    executionProviders: ['webgpu'],
    preferredOutputLocation: places,
    logSeverityLevel: 3,
    extra: strict ? { session: { disable_cpu_ep_fallback: '1' } } : {},
  });
}

export class Arithmetic {
  private readonly sessions = new Map<string, InferenceSession>();

  /** Tensors of one rank, and scalars. */
  async run<Input extends string, Output extends string>(
    operation: Operation<Input, Output>,
    inputs: Record<Input, Tensor>,
  ): Promise<Record<Output, Tensor>> {
    const rank = inputs[operation.inputs[0]!].dims.length;
    const key = `${operation.name} ${rank}`;
    let session = this.sessions.get(key);
    if (!session) {
      session = await openSession(buildModel(operation, rank), operation.place, true);
      this.sessions.set(key, session);
    }
    return (await session.run(inputs)) as Record<Output, Tensor>;
  }

  /** After every tensor has been freed: with the last session goes the GPU. */
  async close(): Promise<void> {
    for (const session of this.sessions.values()) await session.release();
    this.sessions.clear();
  }
}

function buildModel<Input extends string, Output extends string>(
  { inputs, scalars, steps, outputs, reduced = [] }: Operation<Input, Output>,
  rank: number,
): Uint8Array {
  const dims = Array.from({ length: rank }, (_, axis) => `d${axis}`);
  const describe = <Name extends string>(names: readonly Name[], single: readonly Name[]): ValueInfo[] =>
    names.map((name) => ({ name, type: 'float32', dims: single.includes(name) ? [] : dims }));
  return writeOnnxModel({
    nodes: steps.map(([output, op, ...operands]): OnnxNode => {
      const node = { op, inputs: operands, outputs: [output] };
      return op.startsWith('Reduce') ? { ...node, attributes: { keepdims: 0 } } : node;
    }),
    inputs: describe(inputs, scalars),
    outputs: describe(outputs, reduced),
    initializers: [],
  });
}
