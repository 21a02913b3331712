// Turns a function of tensors into an ONNX model by calling it once, on symbols. Whatever it calls of tfjs, gradients
// included, becomes the graph; its shapes are fixed.
import { getBackend, setBackend, type Tensor, tidy } from '@tensorflow/tfjs-core';
import { BACKEND, recordInto, toSymbol, toTensor } from './backend.ts';
import { type ElementType, Graph, type Program } from './graph.ts';

export type InputSpec = { shape: number[]; type: ElementType };

export function trace(
  inputs: ReadonlyMap<string, InputSpec>,
  compute: (tensors: ReadonlyMap<string, Tensor>) => Map<string, Tensor>,
): Program {
  const graph = new Graph();
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
