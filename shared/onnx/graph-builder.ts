// Collects the nodes and constants of one ONNX graph, so that code which describes a model reads like the model.
// It knows nothing about models, and it checks nothing: ONNX Runtime does when it loads the result.
import type { Attribute, Initializer, OnnxGraph, OnnxNode, ValueInfo } from './model-proto.ts';

const CONTRIB = 'com.microsoft';

type NodeOptions = { attributes?: Record<string, Attribute>; outputs?: string[]; domain?: string };

export class GraphBuilder {
  private readonly nodes: OnnxNode[] = [];
  private readonly initializers = new Map<string, Initializer>();
  private readonly stored: ReadonlyMap<string, Initializer>;
  private readonly made = new Map<string, string>();

  /** `stored` holds the weights that the graph may refer to; it takes along only those that it names. */
  constructor(stored: ReadonlyMap<string, Initializer>) {
    this.stored = stored;
  }

  /** Adds a node and returns the name of its first output. */
  add(op: string, inputs: string[], options: NodeOptions = {}): string {
    return this.addAll(op, inputs, 1, options)[0]!;
  }

  /** Adds a node of ONNX Runtime's own operator set. */
  addContrib(op: string, inputs: string[], options: NodeOptions = {}): string {
    return this.add(op, inputs, { ...options, domain: CONTRIB });
  }

  /** Adds a node with several outputs. */
  addAll(op: string, inputs: string[], count: number, options: NodeOptions = {}): string[] {
    const name = `${op}_${this.nodes.length}`;
    const outputs = options.outputs ?? Array.from({ length: count }, (_, i) => (i === 0 ? name : `${name}_${i}`));
    this.nodes.push({ op, inputs, outputs, attributes: options.attributes ?? {}, domain: options.domain ?? '' });
    return outputs;
  }

  /** A one-dimensional int64 constant. */
  ints(values: number[]): string {
    const data = BigInt64Array.from(values, BigInt);
    return this.constant({ name: `ints_${values.join('_')}`, type: 'int64', dims: [values.length], data });
  }

  /** An int64 scalar. */
  int(value: number): string {
    const data = BigInt64Array.of(BigInt(value));
    return this.constant({ name: `int_${value}`, type: 'int64', dims: [], data });
  }

  /** A float32 scalar. */
  float(value: number): string {
    return this.constant({ name: `float_${value}`, type: 'float32', dims: [], data: Float32Array.of(value) });
  }

  /** An unsigned byte as a scalar. */
  byte(value: number): string {
    return this.constant({ name: `byte_${value}`, type: 'uint8', dims: [], data: Uint8Array.of(value) });
  }

  /** A weight by its stored name. */
  weight(name: string): string {
    return this.constant(this.find(name));
  }

  /** x with a weight of this name added, where there is one. */
  addBias(x: string, name: string): string {
    return this.stored.has(name) ? this.add('Add', [x, this.weight(name)]) : x;
  }

  shapeOf(weight: string): number[] {
    return this.find(weight).dims;
  }

  /** What `make` adds, added once for a key. */
  once(key: string, make: () => string): string {
    const name = this.made.get(key) ?? make();
    this.made.set(key, name);
    return name;
  }

  /** The extent of one axis as an int64 scalar. */
  extent(tensor: string, axis: number): string {
    return this.add('Gather', [this.add('Shape', [tensor]), this.int(axis)]);
  }

  reshape(x: string, shape: number[]): string {
    return this.add('Reshape', [x, this.ints(shape)]);
  }

  transpose(x: string, perm: number[]): string {
    return this.add('Transpose', [x], { attributes: { perm } });
  }

  split(x: string, sizes: number[], axis: number): string[] {
    return this.addAll('Split', [x, this.ints(sizes)], sizes.length, { attributes: { axis } });
  }

  finish(inputs: ValueInfo[], outputs: ValueInfo[]): OnnxGraph {
    return { nodes: this.nodes, inputs, outputs, initializers: [...this.initializers.values()] };
  }

  private find(weight: string): Initializer {
    const initializer = this.stored.get(weight);
    if (!initializer) throw new Error(`internal: graph: no weight ${weight} was stored`);
    return initializer;
  }

  private constant(initializer: Initializer): string {
    this.initializers.set(initializer.name, initializer);
    return initializer.name;
  }
}
