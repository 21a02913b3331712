// A tfjs backend that computes nothing: each kernel appends ONNX nodes, and tensors are symbols. Because tfjs
// differentiates by calling kernels too, the backward pass is traced like the forward one.
// It cannot give values back: code that branches on a tensor's content is not traceable, and is told so.
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
import { lookupKernels } from './gather-scatter.ts';
import { type ElementType, type Graph, type Symbolic, sameShape, type Values } from './graph.ts';
import type { Kernel } from './kernel.ts';
import { multiplyKernels } from './matmul.ts';
import { reduceKernels } from './reduce.ts';
import { shapeKernels } from './shape.ts';

export const BACKEND = 'onnx-trace';

class TraceBackend extends KernelBackend {
  graph: Graph | null = null;
  private readonly symbols = new WeakMap<DataId, Symbolic>();

  register(symbol: Symbolic): TensorInfo {
    const dataId = {};
    this.symbols.set(dataId, symbol);
    return { dataId, shape: symbol.shape, dtype: symbol.type === 'int64' ? 'int32' : symbol.type };
  }

  symbolOf(tensor: TensorInfo): Symbolic {
    const symbol = this.symbols.get(tensor.dataId);
    if (!symbol) throw new Error('internal: trace: a tensor of another backend; make it inside of the trace');
    // The same symbol as long as it can be: naming it names it for all its users.
    return sameShape(symbol.shape, tensor.shape) ? symbol : { ...symbol, shape: tensor.shape };
  }

  override write(values: BackendValues | number[] | null, shape: number[], dtype: DataType): DataId {
    if (!values) throw new Error('internal: trace: a constant without values');
    const type = dtype as ElementType;
    const typed = toTyped(values, type);
    const symbol: Symbolic = { shape, type, values: typed };
    if (typed.length > 0 && typed.every((x) => x === typed[0])) symbol.splat = Number(typed[0]);
    return this.register(symbol).dataId;
  }

  override readSync(): never {
    throw new Error('internal: trace: the value of a tensor is not known before the graph runs');
  }
  override async read(): Promise<never> {
    return this.readSync();
  }

  // Symbols live as long as their graph, so nothing is counted.
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

function toTyped(values: BackendValues | number[], type: ElementType): Values {
  if (!Array.isArray(values)) return values as Values;
  const numbers = values as number[];
  if (type === 'float32') return Float32Array.from(numbers);
  return type === 'int32' ? Int32Array.from(numbers) : Uint8Array.from(numbers, Number);
}

function toKernelConfig(kernelName: string, kernel: Kernel): KernelConfig {
  return {
    kernelName,
    backendName: BACKEND,
    kernelFunc: ({ inputs, attrs }) => {
      if (!backend.graph) throw new Error(`internal: trace: ${kernelName} outside of a trace`);
      const symbols = Object.entries(inputs).map(([name, tensor]) => [name, backend.symbolOf(tensor as TensorInfo)]);
      const made = kernel({
        graph: backend.graph,
        inputs: Object.fromEntries(symbols),
        attributes: (attrs ?? {}) as never,
      });
      return Array.isArray(made) ? made.map((symbol) => backend.register(symbol)) : backend.register(made);
    },
  };
}

const backend = new TraceBackend();
registerBackend(BACKEND, () => backend, 0);
for (const kernels of [elementwiseKernels, shapeKernels, reduceKernels, multiplyKernels, lookupKernels])
  for (const [name, kernel] of Object.entries(kernels)) registerKernel(toKernelConfig(name, kernel));

/** Lets `work` run its tfjs calls into `graph`. */
export function recordInto<T>(graph: Graph, work: () => T): T {
  if (backend.graph) throw new Error('internal: trace: a trace inside of a trace');
  backend.graph = graph;
  try {
    return work();
  } finally {
    backend.graph = null;
  }
}

/** A symbol as a tensor that tfjs code can use, while recording. */
export function toTensor(symbol: Symbolic): Tensor {
  return engine().makeTensorFromTensorInfo(backend.register(symbol));
}

export function toSymbol(tensor: Tensor): Symbolic {
  return backend.symbolOf(tensor);
}
