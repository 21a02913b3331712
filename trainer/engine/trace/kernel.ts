// What a kernel of the tracing backend is: tfjs calls it like any kernel, and it appends nodes instead of computing.
import type { Graph, Symbol } from './graph.ts';

export type KernelCall<Attributes> = {
  graph: Graph;
  /** By tfjs's own names: a, b, x, indices … */
  inputs: Record<string, Symbol>;
  attributes: Attributes;
};
export type Kernel = (call: KernelCall<never>) => Symbol | Symbol[];

/** tfjs's kernel names with what to do for each. */
export type Kernels = Record<string, Kernel>;

export function input(inputs: Record<string, Symbol>, name: string): Symbol {
  const symbol = inputs[name];
  if (!symbol) throw new Error(`internal: trace: a kernel without its input ${name}`);
  return symbol;
}
