// Collects the nodes and initializers of one ONNX graph, so that a model is written as nested calls. Nothing is validated
// here: ONNX Runtime validates the graph when it loads it.
import type { Attribute, Initializer, OnnxGraph, OnnxNode, ValueInfo } from './model-proto.ts';

const CONTRIB_DOMAIN = 'com.microsoft';

type NodeOptions = { attributes?: Record<string, Attribute>; outputs?: string[]; domain?: string };

export class GraphBuilder {
  /** Of the graph, or of the branch that is being built. */
  private nodes: OnnxNode[] = [];
  private nodeCount = 0;
  private readonly initializers = new Map<string, Initializer>();
  private readonly weights: ReadonlyMap<string, Initializer>;
  private memoized = new Map<string, string>();

  /** `weights`: the initializers that the graph may use; it contains only those it does use. */
  constructor(weights: ReadonlyMap<string, Initializer>) {
    this.weights = weights;
  }

  /** Adds a node and returns the name of its first output. */
  add(op: string, inputs: string[], options: NodeOptions = {}): string {
    return this.addMultiOutput(op, inputs, 1, options)[0]!;
  }

  /** Adds a node of ONNX Runtime's contrib operators. */
  addContrib(op: string, inputs: string[], options: NodeOptions = {}): string {
    return this.addContribMultiOutput(op, inputs, 1, options)[0]!;
  }

  /** Adds a node with several outputs, of ONNX Runtime's contrib operators. */
  addContribMultiOutput(op: string, inputs: string[], count: number, options: NodeOptions = {}): string[] {
    return this.addMultiOutput(op, inputs, count, { ...options, domain: CONTRIB_DOMAIN });
  }

  /** Adds a node with several outputs. */
  addMultiOutput(op: string, inputs: string[], count: number, options: NodeOptions = {}): string[] {
    const name = `${op}_${this.nodeCount++}`;
    const outputs = options.outputs ?? Array.from({ length: count }, (_, i) => (i === 0 ? name : `${name}_${i}`));
    this.nodes.push({ op, inputs, outputs, attributes: options.attributes ?? {}, domain: options.domain ?? '' });
    return outputs;
  }

  /**
   * Adds an If that computes only one of two float32 tensors of this shape. Branches may use what is in the graph already;
   * what they add themselves can be used in them alone.
   */
  choose(condition: string, whenTrue: () => string, whenFalse: () => string, dims: ValueInfo['dims']): string {
    const branches = { then_branch: this.buildBranch(whenTrue, dims), else_branch: this.buildBranch(whenFalse, dims) };
    return this.add('If', [condition], { attributes: branches });
  }

  private buildBranch(build: () => string, dims: ValueInfo['dims']): { graph: OnnxGraph } {
    const { nodes, memoized } = this;
    this.nodes = [];
    this.memoized = new Map(memoized);
    const output = build();
    const outputs: ValueInfo[] = [{ name: output, type: 'float32', dims }];
    const graph = { nodes: this.nodes, inputs: [], outputs, initializers: [] };
    this.nodes = nodes;
    this.memoized = memoized;
    return { graph };
  }

  /** A one-dimensional int64 constant. */
  intVector(values: number[]): string {
    const data = BigInt64Array.from(values, BigInt);
    return this.constant({ name: `ints_${values.join('_')}`, type: 'int64', dims: [values.length], data });
  }

  /** An int64 scalar. */
  intScalar(value: number): string {
    const data = BigInt64Array.of(BigInt(value));
    return this.constant({ name: `int_${value}`, type: 'int64', dims: [], data });
  }

  /** A float32 scalar. */
  floatScalar(value: number): string {
    return this.constant({ name: `float_${value}`, type: 'float32', dims: [], data: Float32Array.of(value) });
  }

  /** A one-dimensional float32 constant of equal numbers. */
  floatVector(value: number, length: number): string {
    const data = new Float32Array(length).fill(value);
    return this.constant({ name: `floats_${length}_${value}`, type: 'float32', dims: [length], data });
  }

  /** A float32 constant [data / columns, columns]. */
  floatMatrix(name: string, columns: number, data: Float32Array): string {
    return this.constant({ name, type: 'float32', dims: [data.length / columns, columns], data });
  }

  /** A uint8 scalar. */
  byteScalar(value: number): string {
    return this.constant({ name: `byte_${value}`, type: 'uint8', dims: [], data: Uint8Array.of(value) });
  }

  /** A weight by its stored name. */
  weight(name: string): string {
    return this.constant(this.findWeight(name));
  }

  has(weight: string): boolean {
    return this.weights.has(weight);
  }

  /** x [N, in] · the weight [in, out], at float32, if that weight exists. */
  multiply(x: string, weight: string): string {
    return this.has(weight) ? this.add('MatMul', [x, this.weight(weight)]) : x;
  }

  /** Adds the bias `name` to x if that weight exists. */
  addBias(x: string, name: string): string {
    return this.has(name) ? this.add('Add', [x, this.weight(name)]) : x;
  }

  shapeOf(weight: string): number[] {
    return this.findWeight(weight).dims;
  }

  /** Calls `build` once per key. */
  memoize(key: string, build: () => string): string {
    const name = this.memoized.get(key) ?? build();
    this.memoized.set(key, name);
    return name;
  }

  /** The size of one axis as an int64 scalar. */
  dim(tensor: string, axis: number): string {
    return this.add('Gather', [this.add('Shape', [tensor]), this.intScalar(axis)]);
  }

  reshape(x: string, shape: number[]): string {
    return this.add('Reshape', [x, this.intVector(shape)]);
  }

  transpose(x: string, perm: number[]): string {
    return this.add('Transpose', [x], { attributes: { perm } });
  }

  /** Adds `count` zeros at the end of the last of `rank` axes. */
  padLast(x: string, count: number, rank: number): string {
    if (count === 0) return x;
    return this.add('Pad', [x, this.intVector([...Array<number>(2 * rank - 1).fill(0), count])]);
  }

  split(x: string, sizes: number[], axis: number): string[] {
    return this.addMultiOutput('Split', [x, this.intVector(sizes)], sizes.length, { attributes: { axis } });
  }

  finish(inputs: ValueInfo[], outputs: ValueInfo[]): OnnxGraph {
    return { nodes: this.nodes, inputs, outputs, initializers: [...this.initializers.values()] };
  }

  private findWeight(weight: string): Initializer {
    const initializer = this.weights.get(weight);
    if (!initializer) throw new Error(`internal: graph: weight ${weight} is missing`);
    return initializer;
  }

  private constant(initializer: Initializer): string {
    this.initializers.set(initializer.name, initializer);
    return initializer.name;
  }
}
