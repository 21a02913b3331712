// Turns a function of tensors into an ONNX model by calling it once, on symbols. Whatever it calls of tfjs, gradients
// included, becomes the graph; only
// the extents that are named as free may differ from run to run.
import { getBackend, setBackend, type Tensor, tidy } from '@tensorflow/tfjs-core';
import { type ElementType, Graph, type Program, type Target } from './graph.ts';
import { Dimensions } from './symbolic-dimensions.ts';
import { BACKEND, recordInto, toSymbol, toTensor } from './trace-backend.ts';

export type InputSpec = { shape: number[]; type: ElementType };

export type TraceOptions = {
  target?: Target;
  /** Extents that the graph takes from its inputs when it runs, by name, as primes: see dimensions.ts. */
  free?: ReadonlyMap<string, number>;
};

export function trace(
  inputs: ReadonlyMap<string, InputSpec>,
  compute: (tensors: ReadonlyMap<string, Tensor>) => Map<string, Tensor>,
  { target, free }: TraceOptions = {},
): Program {
  const graph = new Graph(target, new Dimensions(free));
  const before = getBackend();
  // For a backend without an asynchronous start this takes effect at once.
  void setBackend(BACKEND);
  try {
    return recordInto(graph, () => {
      let program: Program | undefined;
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
    if (before && before !== BACKEND) void setBackend(before);
  }
}
