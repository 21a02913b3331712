// An ONNX graph under construction. Kernels append nodes and get symbols back: tensors that have a shape but no values.
// Equal nodes are made once, constants are kept by content, and a tensor of one repeated number stays a number as long
// as it can, because tfjs's gradients are full of ones and zeros.
import { createHash } from 'node:crypto';
import { type Attribute, type OnnxNode, type OnnxType, writeOnnxModel } from '../../../shared/onnx/model-proto.ts';
import { Dimensions } from './symbolic-dimensions.ts';

export type ElementType = Extract<OnnxType, 'float32' | 'int32' | 'int64' | 'bool'>;
export type Values = Float32Array | Int32Array | BigInt64Array | Uint8Array;

export type Symbolic = {
  shape: number[];
  type: ElementType;
  /** In the graph; a symbol without a name gets one when a node needs it. */
  name?: string;
  /** Every element is this number. */
  splat?: number;
  /** The elements of a constant. */
  values?: Values;
  /** A sum of rows, which an addition may put right into its other operand. */
  rows?: { indices: Symbolic; updates: Symbolic };
};

export type Program = { bytes: Uint8Array; inputs: string[]; outputs: string[]; nodeCount: number };

type Node = OnnxNode & { shape: number[] };
type Constant = { name: string; type: ElementType; dims: number[]; data: Values };

/** A splat of up to this many elements is written out; a larger one is expanded when the graph runs. */
const WRITTEN_OUT = 4096;

/** What will run the graph. WebGPU lacks a few kernels, and a node without one would be computed on the CPU. */
export type Target = 'cpu' | 'webgpu';

export class Graph {
  readonly target: Target;
  private readonly nodes: Node[] = [];
  private readonly made = new Map<string, Symbolic>();
  private readonly makers = new Map<string, Node>();
  private readonly constants = new Map<string, Constant>();
  private readonly inputs: Symbolic[] = [];
  private readonly dimensions: Dimensions;

  constructor(target: Target = 'cpu', dimensions = new Dimensions()) {
    this.target = target;
    this.dimensions = dimensions;
  }

  input(name: string, shape: number[], type: ElementType): Symbolic {
    const symbol = { name, shape, type };
    this.inputs.push(symbol);
    return symbol;
  }

  /** Appends a node with one output, unless an equal one is there already. */
  emit(
    op: string,
    inputs: (Symbolic | string)[],
    shape: number[],
    type: ElementType,
    attributes: Record<string, Attribute> = {},
    domain = '',
  ): Symbolic {
    const names = inputs.map((input) => (typeof input === 'string' ? input : this.nameOf(input)));
    const key = `${op}|${names.join(',')}|${JSON.stringify(attributes)}`;
    const known = this.made.get(key);
    if (known) return { ...known, shape };
    const symbol: Symbolic = { name: `t${this.nodes.length}`, shape, type };
    const node: Node = { op, inputs: names, outputs: [symbol.name!], attributes, domain, shape };
    this.nodes.push(node);
    this.makers.set(symbol.name!, node);
    this.made.set(key, symbol);
    return symbol;
  }

  /** The node that makes a symbol, for rewriting; none for inputs and constants. */
  makerOf(name: string): Node | undefined {
    return this.makers.get(name);
  }

  constant(type: ElementType, dims: number[], data: Values): string {
    if (dims.some((extent) => this.isFree(extent)))
      throw new Error(`internal: graph: a constant of shape [${dims.map((extent) => this.dimensions.label(extent))}]`);
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const key = createHash('sha1').update(`${type} ${dims}`).update(bytes).digest('hex');
    const known = this.constants.get(key);
    if (known) return known.name;
    const name = `c${this.constants.size}`;
    this.constants.set(key, { name, type, dims, data });
    return name;
  }

  /** A list of int64, as ONNX wants shapes and axes. */
  list(numbers: number[]): string {
    if (!numbers.some((number) => this.isFree(number)))
      return this.constant('int64', [numbers.length], BigInt64Array.from(numbers, BigInt));
    const extents = numbers.map((number) => this.extent(number));
    return this.nameOf(this.emit('Concat', extents, [numbers.length], 'int64', { axis: 0 }));
  }

  /** Whether it is known only when the graph runs. */
  isFree(extent: number): boolean {
    return this.dimensions.isFree(extent);
  }

  /** A list of one number, which comes from the inputs' shapes where it is free. */
  extent(number: number): Symbolic {
    const { factor, names } = this.dimensions.split(number);
    const parts = names.map((name) => this.read(name));
    if (factor !== 1 || parts.length === 0) parts.push({ shape: [1], type: 'int64', splat: factor });
    return parts.reduce((product, part) => this.emit('Mul', [product, part], [1], 'int64'));
  }

  private read(dimension: string): Symbolic {
    for (const { name, shape } of this.inputs) {
      const axis = shape.findIndex((extent) => this.dimensions.label(extent) === dimension);
      if (axis >= 0) return this.emit('Shape', [name!], [1], 'int64', { start: axis, end: axis + 1 });
    }
    throw new Error(`internal: graph: no input has the dimension ${dimension}`);
  }

  /** The operand of a broadcasting node: there one number stands for any shape. */
  broadcast(symbol: Symbolic): string {
    if (symbol.splat === undefined || symbol.name) return this.nameOf(symbol);
    return this.constant(symbol.type, [], valuesOf(symbol.type, 1, symbol.splat));
  }

  nameOf(symbol: Symbolic): string {
    symbol.name ??= this.place(symbol);
    return symbol.name;
  }

  /** dense [N, …] + the rows that `updates` adds at `indices`. ScatterND would race on indices that come twice. */
  addRows(dense: Symbolic, { indices, updates }: NonNullable<Symbolic['rows']>): Symbolic {
    const count = sizeOf(indices.shape);
    const width = sizeOf(dense.shape.slice(1));
    const rows = this.reshape(indices, [count, 1]);
    const everywhere = this.emit('Expand', [rows, this.list([count, width])], [count, width], indices.type);
    const flat = this.reshape(dense, [dense.shape[0]!, width]);
    const sum = this.emit(
      'ScatterElements',
      [flat, everywhere, this.reshape(updates, [count, width])],
      flat.shape,
      dense.type,
      { axis: 0, reduction: 'add' },
    );
    return this.reshape(sum, dense.shape);
  }

  reshape(symbol: Symbolic, shape: number[]): Symbolic {
    if (sameShape(symbol.shape, shape)) return symbol;
    if (!symbol.name && symbol.splat !== undefined) return { shape, type: symbol.type, splat: symbol.splat };
    if (!symbol.name && symbol.values) return { shape, type: symbol.type, values: symbol.values };
    let source = this.nameOf(symbol);
    const maker = this.makers.get(source);
    if (maker?.op === 'Reshape') {
      source = maker.inputs[0]!;
      if (sameShape(this.makers.get(source)?.shape ?? [], shape)) return { name: source, shape, type: symbol.type };
    }
    return this.emit('Reshape', [source, this.shapeOf(shape)], shape, symbol.type);
  }

  /** The list for a Reshape, which works out one free extent by itself. */
  private shapeOf(shape: number[]): string {
    const free = shape.filter((extent) => this.isFree(extent));
    return this.list(free.length === 1 ? shape.map((extent) => (extent === free[0] ? -1 : extent)) : shape);
  }

  cast(symbol: Symbolic, type: ElementType): Symbolic {
    if (symbol.type === type) return symbol;
    if (!symbol.name && symbol.splat !== undefined) return { shape: symbol.shape, type, splat: Number(symbol.splat) };
    return this.emit('Cast', [symbol], symbol.shape, type, { to: { float32: 1, int32: 6, int64: 7, bool: 9 }[type] });
  }

  /** The model with these outputs and only the nodes, constants and inputs that they need. */
  build(outputs: Map<string, Symbolic>): Program {
    const renamed = new Map<string, string>();
    const copies: OnnxNode[] = [];
    for (const [name, symbol] of outputs) {
      const source = this.nameOf(symbol);
      const maker = this.makers.get(source);
      // A reshaped symbol may go by the name of its source; an output must have its own shape.
      if (maker && sameShape(maker.shape, symbol.shape) && !renamed.has(source)) renamed.set(source, name);
      else copies.push(this.copy(source, symbol, name, renamed));
    }
    const live = this.needed([
      ...Array.from(outputs.values(), (symbol) => this.nameOf(symbol)),
      ...copies.flatMap((node) => node.inputs),
    ]);
    const rename = (name: string) => renamed.get(name) ?? name;
    const nodes: OnnxNode[] = this.nodes
      .filter((node) => live.has(node))
      .map((node) => ({ ...node, inputs: node.inputs.map(rename), outputs: node.outputs.map(rename) }));
    nodes.push(...copies);

    const used = new Set(nodes.flatMap((node) => node.inputs));
    const inputs = this.inputs.filter((input) => used.has(input.name!));
    const label = (shape: number[]) => shape.map((extent) => this.dimensions.label(extent));
    const bytes = writeOnnxModel({
      nodes,
      inputs: inputs.map(({ name, type, shape }) => ({ name: name!, type, dims: label(shape) })),
      outputs: Array.from(outputs, ([name, { type, shape }]) => ({ name, type, dims: label(shape) })),
      initializers: [...this.constants.values()].filter(({ name }) => used.has(name)),
    });
    return {
      bytes,
      inputs: inputs.map(({ name }) => name!),
      outputs: [...outputs.keys()],
      nodeCount: nodes.length,
    };
  }

  private copy(source: string, symbol: Symbolic, name: string, renamed: Map<string, string>): OnnxNode {
    const from = renamed.get(source) ?? source;
    return { op: 'Reshape', inputs: [from, this.shapeOf(symbol.shape)], outputs: [name] };
  }

  private needed(names: string[]): Set<Node> {
    const live = new Set<Node>();
    const open = [...names];
    while (open.length > 0) {
      const node = this.makers.get(open.pop()!);
      if (!node || live.has(node)) continue;
      live.add(node);
      open.push(...node.inputs);
    }
    return live;
  }

  private place(symbol: Symbolic): string {
    const { shape, type, splat, values, rows } = symbol;
    if (rows) return this.nameOf(this.addRows({ shape, type, splat: 0 }, rows));
    if (splat === undefined) {
      if (!values) throw new Error(`internal: graph: a symbol of shape [${shape}] with neither name nor values`);
      return this.constant(type, shape, values);
    }
    const size = sizeOf(shape);
    if (size <= WRITTEN_OUT && !shape.some((extent) => this.isFree(extent)))
      return this.constant(type, shape, valuesOf(type, size, splat));
    const one = this.constant(type, [1], valuesOf(type, 1, splat));
    return this.nameOf(this.emit('Expand', [one, this.list(shape)], shape, type));
  }
}

export function sizeOf(shape: number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

export function sameShape(a: number[], b: number[]): boolean {
  return a.length === b.length && a.every((extent, axis) => extent === b[axis]);
}

/** Numbers as the typed array of an element type. */
export function valuesOf(type: ElementType, length: number, fill: number): Values {
  if (type === 'float32') return new Float32Array(length).fill(fill);
  if (type === 'int32') return new Int32Array(length).fill(fill);
  if (type === 'bool') return new Uint8Array(length).fill(fill);
  return new BigInt64Array(length).fill(BigInt(fill));
}
