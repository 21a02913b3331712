// Traces a function of tensors into an ONNX model by calling it once on symbolic tensors, as jax.jit does. Every tfjs
// call in it, gradients included, becomes a node. Only dynamic dimensions may differ between runs of the model.
import { getBackend, setBackend, type Tensor, tidy } from '@tensorflow/tfjs-core';
import { Graph, type TracedProgram, type TraceTarget } from './graph.ts';
import { SymbolicDimensions } from './symbolic-dimensions.ts';
import type { ElementType } from './symbolic-tensor.ts';
import { recordInto, TRACE_BACKEND, toSymbol, toTensor } from './trace-backend.ts';

export type InputSpec = { shape: number[]; type: ElementType };

export type TraceOptions = {
  target?: TraceTarget;
  /** Extents that the graph reads from the shapes of its inputs, by name, as primes (symbolic-dimensions.ts). */
  dynamicDims?: ReadonlyMap<string, number>;
};

export function trace(
  inputs: ReadonlyMap<string, InputSpec>,
  compute: (tensors: ReadonlyMap<string, Tensor>) => Map<string, Tensor>,
  { target, dynamicDims }: TraceOptions = {},
): TracedProgram {
  const graph = new Graph(target, new SymbolicDimensions(dynamicDims));
  const previousBackend = getBackend();
  // Takes effect at once, because the backend has no asynchronous initialization.
  void setBackend(TRACE_BACKEND);
  try {
    return recordInto(graph, () => {
      let program: TracedProgram | undefined;
      tidy(() => {
        const tensors = Array.from(
          inputs,
          ([name, { shape, type }]) => [name, toTensor(graph.input(name, shape, type))] as const,
        );
        const outputs = compute(new Map(tensors));
        program = graph.build(new Map(Array.from(outputs, ([name, tensor]) => [name, toSymbol(tensor)])));
      });
      return program!;
    });
  } finally {
    if (previousBackend && previousBackend !== TRACE_BACKEND) void setBackend(previousBackend);
  }
}
