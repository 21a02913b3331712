// A tfjs backend that computes nothing: each kernel appends ONNX nodes, and tensors are symbolic. tfjs differentiates
// by calling kernels, so the backward pass is traced like the forward pass. Code that reads the values of a tensor
// cannot be traced and throws.
import {
  type BackendValues,
  type DataId,
  type DataType,
  engine,
  KernelBackend,
  type KernelConfig,
  registerBackend,
  registerKernel,
  type Tensor,
  type TensorInfo,
} from '@tensorflow/tfjs-core';
import { elementwiseKernels } from './elementwise.ts';
import { gatherScatterKernels } from './gather-scatter.ts';
import type { Graph } from './graph.ts';
import type { Kernel } from './kernel.ts';
import { matmulKernels } from './matmul.ts';
import { reduceKernels } from './reduce.ts';
import { shapeKernels } from './shape.ts';
import { type ElementType, type SymbolicTensor, sameShape, type TypedValues } from './symbolic-tensor.ts';

export const TRACE_BACKEND = 'onnx-trace';

class TraceBackend extends KernelBackend {
  graph: Graph | null = null;
  private readonly symbols = new WeakMap<DataId, SymbolicTensor>();

  register(symbol: SymbolicTensor): TensorInfo {
    const dataId = {};
    this.symbols.set(dataId, symbol);
    return { dataId, shape: symbol.shape, dtype: symbol.type === 'int64' ? 'int32' : symbol.type };
  }

  symbolOf(tensor: TensorInfo): SymbolicTensor {
    const symbol = this.symbols.get(tensor.dataId);
    if (!symbol) throw new Error('internal: trace: a tensor of another backend; create it inside the trace');
    // The same object if the shape is the same, so that a name assigned later applies to all uses.
    return sameShape(symbol.shape, tensor.shape) ? symbol : { ...symbol, shape: tensor.shape };
  }

  override write(values: BackendValues | number[] | null, shape: number[], dtype: DataType): DataId {
    if (!values) throw new Error('internal: trace: a constant has no values');
    const type = dtype as ElementType;
    const typed = toTyped(values, type);
    const symbol: SymbolicTensor = { shape, type, values: typed };
    if (typed.length > 0 && typed.every((x) => x === typed[0])) symbol.splat = Number(typed[0]);
    return this.register(symbol).dataId;
  }

  override readSync(): never {
    throw new Error('internal: trace: a tensor has no value before the graph runs');
  }
  override async read(): Promise<never> {
    return this.readSync();
  }

  // Symbols live as long as their graph, so references are not counted.
  override disposeData(): boolean {
    return false;
  }
  override numDataIds(): number {
    return 0;
  }
  override incRef(): void {}
  override refCount(): number {
    return 1;
  }
  override memory(): { unreliable: boolean } {
    return { unreliable: true };
  }
  override floatPrecision(): 32 {
    return 32;
  }
  override epsilon(): number {
    return 1e-7;
  }
  override dispose(): void {}
}

function toTyped(values: BackendValues | number[], type: ElementType): TypedValues {
  if (!Array.isArray(values)) return values as TypedValues;
  const numbers = values as number[];
  if (type === 'float32') return Float32Array.from(numbers);
  return type === 'int32' ? Int32Array.from(numbers) : Uint8Array.from(numbers, Number);
}

function toKernelConfig(kernelName: string, kernel: Kernel): KernelConfig {
  return {
    kernelName,
    backendName: TRACE_BACKEND,
    kernelFunc: ({ inputs, attrs }) => {
      if (!backend.graph) throw new Error(`internal: trace: ${kernelName} outside of a trace`);
      const symbols = Object.entries(inputs).map(([name, tensor]) => [name, backend.symbolOf(tensor as TensorInfo)]);
      const outputs = kernel({
        graph: backend.graph,
        inputs: Object.fromEntries(symbols),
        attributes: (attrs ?? {}) as never,
      });
      return Array.isArray(outputs) ? outputs.map((symbol) => backend.register(symbol)) : backend.register(outputs);
    },
  };
}

const backend = new TraceBackend();
registerBackend(TRACE_BACKEND, () => backend, 0);
for (const kernels of [elementwiseKernels, shapeKernels, reduceKernels, matmulKernels, gatherScatterKernels])
  for (const [name, kernel] of Object.entries(kernels)) registerKernel(toKernelConfig(name, kernel));

/** Runs `work` so that its tfjs calls append nodes to `graph`. */
export function recordInto<T>(graph: Graph, work: () => T): T {
  if (backend.graph) throw new Error('internal: trace: traces cannot be nested');
  backend.graph = graph;
  try {
    return work();
  } finally {
    backend.graph = null;
  }
}

/** A symbol as a tfjs tensor; usable only while recording. */
export function toTensor(symbol: SymbolicTensor): Tensor {
  return engine().makeTensorFromTensorInfo(backend.register(symbol));
}

export function toSymbol(tensor: Tensor): SymbolicTensor {
  return backend.symbolOf(tensor);
}
