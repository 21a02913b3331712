// The operations of an optimizer step on tensors that stay on the GPU: each is a small ONNX graph that ONNX Runtime's
// WebGPU provider runs. A run allocates new buffers and never writes into existing ones (the binding ignores
// preallocated outputs), so the caller disposes of every tensor that it replaces.
import { InferenceSession, type Tensor } from 'onnxruntime-node';
import { type OnnxNode, type ValueInfo, writeOnnxModel } from '../../../../shared/onnx/model-proto.ts';

/** Where outputs are placed: in buffers on the GPU, or in arrays in memory. */
export type OutputLocation = 'gpu-buffer' | 'cpu';

type Operation<Input extends string, Output extends string> = {
  name: string;
  inputs: readonly Input[];
  /** Inputs of shape []. */
  scalars: readonly Input[];
  /** Nodes in the order of execution. */
  steps: readonly (readonly [output: string, operator: string, ...operands: string[]])[];
  outputs: readonly Output[];
  /** Outputs of shape []. */
  scalarOutputs?: readonly Output[];
  outputLocation: OutputLocation;
};

export const upload: Operation<'x', 'y'> = {
  name: 'upload',
  inputs: ['x'],
  scalars: [],
  steps: [['y', 'Identity', 'x']],
  outputs: ['y'],
  outputLocation: 'gpu-buffer',
};

export const download: Operation<'x', 'y'> = { ...upload, name: 'download', outputLocation: 'cpu' };

export const add: Operation<'a' | 'b', 'sum'> = {
  name: 'add',
  inputs: ['a', 'b'],
  scalars: [],
  steps: [['sum', 'Add', 'a', 'b']],
  outputs: ['sum'],
  outputLocation: 'gpu-buffer',
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
  scalarOutputs: ['sum'],
  outputLocation: 'gpu-buffer',
};

const adamwScalars = [
  'scale',
  'rate',
  'correction',
  'decay',
  'beta1',
  'oneMinusBeta1',
  'beta2',
  'oneMinusBeta2',
  'epsilon',
] as const;
export type AdamwScalar = (typeof adamwScalars)[number];

/** The formula of the WebAssembly kernel; see ../cpu/adamw-kernel.ts. */
export const adamw: Operation<
  'weight' | 'first' | 'second' | 'gradient' | AdamwScalar,
  'nextWeight' | 'nextFirst' | 'nextSecond'
> = {
  name: 'adamw',
  inputs: ['weight', 'first', 'second', 'gradient', ...adamwScalars],
  scalars: adamwScalars,
  steps: [
    ['g', 'Mul', 'gradient', 'scale'],
    ['oldFirst', 'Mul', 'first', 'beta1'],
    ['newFirst', 'Mul', 'g', 'oneMinusBeta1'],
    ['nextFirst', 'Add', 'oldFirst', 'newFirst'],
    ['square', 'Mul', 'g', 'g'],
    ['oldSecond', 'Mul', 'second', 'beta2'],
    ['newSecond', 'Mul', 'square', 'oneMinusBeta2'],
    ['nextSecond', 'Add', 'oldSecond', 'newSecond'],
    ['root', 'Sqrt', 'nextSecond'],
    ['corrected', 'Mul', 'root', 'correction'],
    ['denominator', 'Add', 'corrected', 'epsilon'],
    ['step', 'Mul', 'nextFirst', 'rate'],
    ['change', 'Div', 'step', 'denominator'],
    ['decayed', 'Mul', 'weight', 'decay'],
    ['nextWeight', 'Sub', 'decayed', 'change'],
  ],
  outputs: ['nextWeight', 'nextFirst', 'nextSecond'],
  outputLocation: 'gpu-buffer',
};

/** A session with its outputs at `locations`. With `strict`, opening fails if any node would run on the CPU. */
export function openWebgpuSession(
  model: Uint8Array,
  locations: OutputLocation | Record<string, OutputLocation>,
  strict = false,
): Promise<InferenceSession> {
  return InferenceSession.create(model, {
    executionProviders: ['webgpu'],
    preferredOutputLocation: locations,
    logSeverityLevel: 3,
    extra: strict ? { session: { disable_cpu_ep_fallback: '1' } } : {},
  });
}

export class GpuOperations {
  private readonly sessions = new Map<string, InferenceSession>();

  /** Runs an operation on tensors of the same rank; scalars have shape []. */
  async run<Input extends string, Output extends string>(
    operation: Operation<Input, Output>,
    inputs: Record<Input, Tensor>,
  ): Promise<Record<Output, Tensor>> {
    const rank = inputs[operation.inputs[0]!].dims.length;
    const key = `${operation.name} ${rank}`;
    let session = this.sessions.get(key);
    if (!session) {
      session = await openWebgpuSession(buildModel(operation, rank), operation.outputLocation, true);
      this.sessions.set(key, session);
    }
    return (await session.run(inputs)) as Record<Output, Tensor>;
  }

  /** Call it after every tensor is disposed: closing the last session releases the GPU. */
  async close(): Promise<void> {
    for (const session of this.sessions.values()) await session.release();
    this.sessions.clear();
  }
}

function buildModel<Input extends string, Output extends string>(
  { inputs, scalars, steps, outputs, scalarOutputs: reduced = [] }: Operation<Input, Output>,
  rank: number,
): Uint8Array {
  const dims = Array.from({ length: rank }, (_, axis) => `d${axis}`);
  const toValueInfos = <Name extends string>(names: readonly Name[], scalarNames: readonly Name[]): ValueInfo[] =>
    names.map((name) => ({ name, type: 'float32', dims: scalarNames.includes(name) ? [] : dims }));
  return writeOnnxModel({
    nodes: steps.map(([output, op, ...operands]): OnnxNode => {
      const node = { op, inputs: operands, outputs: [output] };
      return op.startsWith('Reduce') ? { ...node, attributes: { keepdims: 0 } } : node;
    }),
    inputs: toValueInfos(inputs, scalars),
    outputs: toValueInfos(outputs, reduced),
    initializers: [],
  });
}
