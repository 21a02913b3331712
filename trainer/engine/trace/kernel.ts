// A kernel of the tracing backend: tfjs calls it like any kernel, and it appends nodes instead of computing.
import type { Graph } from './graph.ts';
import type { SymbolicTensor } from './symbolic-tensor.ts';

export type KernelCall<Attributes> = {
  graph: Graph;
  /** By tfjs's input names: a, b, x, indices … */
  inputs: Record<string, SymbolicTensor>;
  attributes: Attributes;
};
export type Kernel = (call: KernelCall<never>) => SymbolicTensor | SymbolicTensor[];

/** Kernels by tfjs kernel name. */
export type Kernels = Record<string, Kernel>;

export function getInput(inputs: Record<string, SymbolicTensor>, name: string): SymbolicTensor {
  const tensor = inputs[name];
  if (!tensor) throw new Error(`internal: trace: kernel call without input ${name}`);
  return tensor;
}
