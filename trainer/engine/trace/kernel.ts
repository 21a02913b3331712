// What a kernel of the tracing backend is: tfjs calls it like any kernel, and it appends nodes instead of computing.
import type { Graph, Symbolic } from './graph.ts';

export type KernelCall<Attributes> = {
  graph: Graph;
  /** By tfjs's own names: a, b, x, indices … */
  inputs: Record<string, Symbolic>;
  attributes: Attributes;
};
export type Kernel = (call: KernelCall<never>) => Symbolic | Symbolic[];

/** tfjs's kernel names with what to do for each. */
export type Kernels = Record<string, Kernel>;

export function input(inputs: Record<string, Symbolic>, name: string): Symbolic {
  const symbol = inputs[name];
  if (!symbol) throw new Error(`internal: trace: a kernel without its input ${name}`);
  return symbol;
}
