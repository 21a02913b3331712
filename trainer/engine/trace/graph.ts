// Builds an ONNX graph. Kernels append nodes and receive symbolic tensors, which have a shape but no values. Equal
// nodes are emitted once (common subexpressions), constants are deduplicated by content, and a tensor of one repeated
// number (a splat) stays a number for as long as possible, because tfjs's gradients are full of ones and zeros.
import { createHash } from 'node:crypto';
import { type Attribute, type OnnxNode, writeOnnxModel } from '../../../shared/onnx/model-proto.ts';
import { SymbolicDimensions } from './symbolic-dimensions.ts';
import {
  type ElementType,
  filledArray,
  type SymbolicTensor,
  sameShape,
  sizeOf,
  type TypedValues,
} from './symbolic-tensor.ts';

export type TracedProgram = { bytes: Uint8Array; inputs: string[]; outputs: string[]; nodeCount: number };

type Node = OnnxNode & { shape: number[] };
type Constant = { name: string; type: ElementType; dims: number[]; data: TypedValues };

/** A splat of up to this many elements is stored in the graph; a larger one is expanded when the graph runs. */
const MAX_INLINE_ELEMENTS = 4096;

/** The execution provider. WebGPU lacks a few kernels, and ONNX Runtime would compute such nodes on the CPU. */
export type TraceTarget = 'cpu' | 'webgpu';

export class Graph {
  readonly target: TraceTarget;
  private readonly nodes: Node[] = [];
  private readonly tensorsByKey = new Map<string, SymbolicTensor>();
  private readonly producers = new Map<string, Node>();
  private readonly constants = new Map<string, Constant>();
  private readonly inputs: SymbolicTensor[] = [];
  private readonly dimensions: SymbolicDimensions;

  constructor(target: TraceTarget = 'cpu', dimensions = new SymbolicDimensions()) {
    this.target = target;
    this.dimensions = dimensions;
  }

  input(name: string, shape: number[], type: ElementType): SymbolicTensor {
    const tensor = { name, shape, type };
    this.inputs.push(tensor);
    return tensor;
  }

  /** Appends a node with one output, or returns the output of an equal node. */
  emit(
    op: string,
    inputs: (SymbolicTensor | string)[],
    shape: number[],
    type: ElementType,
    attributes: Record<string, Attribute> = {},
    domain = '',
  ): SymbolicTensor {
    const names = inputs.map((input) => (typeof input === 'string' ? input : this.nameOf(input)));
    const key = `${op}|${names.join(',')}|${JSON.stringify(attributes)}`;
    const existing = this.tensorsByKey.get(key);
    if (existing) return { ...existing, shape };
    const tensor: SymbolicTensor = { name: `t${this.nodes.length}`, shape, type };
    const node: Node = { op, inputs: names, outputs: [tensor.name!], attributes, domain, shape };
    this.nodes.push(node);
    this.producers.set(tensor.name!, node);
    this.tensorsByKey.set(key, tensor);
    return tensor;
  }

  /** The node that produces a tensor; undefined for inputs and constants. */
  producerOf(name: string): Node | undefined {
    return this.producers.get(name);
  }

  constant(type: ElementType, dims: number[], data: TypedValues): string {
    if (dims.some((extent) => this.isDynamic(extent)))
      throw new Error(
        `internal: graph: a constant with a dynamic dimension, of shape [${dims.map((extent) => this.dimensions.toOnnxDimension(extent))}]`,
      );
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const key = createHash('sha1').update(`${type} ${dims}`).update(bytes).digest('hex');
    const existing = this.constants.get(key);
    if (existing) return existing.name;
    const name = `c${this.constants.size}`;
    this.constants.set(key, { name, type, dims, data });
    return name;
  }

  /** A constant or computed int64 list, the form of shapes and axes in ONNX. */
  int64List(numbers: number[]): string {
    if (!numbers.some((number) => this.isDynamic(number)))
      return this.constant('int64', [numbers.length], BigInt64Array.from(numbers, BigInt));
    const extents = numbers.map((number) => this.extentTensor(number));
    return this.nameOf(this.emit('Concat', extents, [numbers.length], 'int64', { axis: 0 }));
  }

  /** Whether the extent is known only when the graph runs. */
  isDynamic(extent: number): boolean {
    return this.dimensions.isDynamic(extent);
  }

  /** A list [1] of one extent; a dynamic one is computed from the shapes of the inputs. */
  extentTensor(number: number): SymbolicTensor {
    const { factor, names } = this.dimensions.factorize(number);
    const factors = names.map((name) => this.readDimension(name));
    if (factor !== 1 || factors.length === 0) factors.push({ shape: [1], type: 'int64', splat: factor });
    return factors.reduce((product, next) => this.emit('Mul', [product, next], [1], 'int64'));
  }

  private readDimension(dimension: string): SymbolicTensor {
    for (const { name, shape } of this.inputs) {
      const axis = shape.findIndex((extent) => this.dimensions.toOnnxDimension(extent) === dimension);
      if (axis >= 0) return this.emit('Shape', [name!], [1], 'int64', { start: axis, end: axis + 1 });
    }
    throw new Error(`internal: graph: no input has the dimension ${dimension}`);
  }

  /** The name of an operand of a broadcasting node; a splat becomes a scalar. */
  broadcastOperand(tensor: SymbolicTensor): string {
    if (tensor.splat === undefined || tensor.name) return this.nameOf(tensor);
    return this.constant(tensor.type, [], filledArray(tensor.type, 1, tensor.splat));
  }

  nameOf(tensor: SymbolicTensor): string {
    tensor.name ??= this.materialize(tensor);
    return tensor.name;
  }

  /**
   * dense [N, …] with the rows of `updates` added at `indices`. Uses ScatterElements, because ScatterND with
   * reduction=add has a data race if an index occurs twice.
   */
  scatterAdd(dense: SymbolicTensor, { indices, updates }: NonNullable<SymbolicTensor['segmentSum']>): SymbolicTensor {
    const count = sizeOf(indices.shape);
    const width = sizeOf(dense.shape.slice(1));
    const column = this.reshape(indices, [count, 1]);
    const elementIndices = this.emit('Expand', [column, this.int64List([count, width])], [count, width], indices.type);
    const flat = this.reshape(dense, [dense.shape[0]!, width]); // [N, …] → [N, width]
    const sum = this.emit(
      'ScatterElements',
      [flat, elementIndices, this.reshape(updates, [count, width])],
      flat.shape,
      dense.type,
      { axis: 0, reduction: 'add' },
    );
    return this.reshape(sum, dense.shape); // [N, width] → [N, …]
  }

  reshape(tensor: SymbolicTensor, shape: number[]): SymbolicTensor {
    if (sameShape(tensor.shape, shape)) return tensor;
    if (!tensor.name && tensor.splat !== undefined) return { shape, type: tensor.type, splat: tensor.splat };
    if (!tensor.name && tensor.values) return { shape, type: tensor.type, values: tensor.values };
    let source = this.nameOf(tensor);
    const producer = this.producers.get(source);
    if (producer?.op === 'Reshape') {
      source = producer.inputs[0]!;
      if (sameShape(this.producers.get(source)?.shape ?? [], shape)) return { name: source, shape, type: tensor.type };
    }
    return this.emit('Reshape', [source, this.shapeOf(shape)], shape, tensor.type);
  }

  /** The shape operand of a Reshape, which infers one dynamic extent (-1). */
  private shapeOf(shape: number[]): string {
    const dynamic = shape.filter((extent) => this.isDynamic(extent));
    return this.int64List(dynamic.length === 1 ? shape.map((extent) => (extent === dynamic[0] ? -1 : extent)) : shape);
  }

  cast(tensor: SymbolicTensor, type: ElementType): SymbolicTensor {
    if (tensor.type === type) return tensor;
    if (!tensor.name && tensor.splat !== undefined) return { shape: tensor.shape, type, splat: Number(tensor.splat) };
    return this.emit('Cast', [tensor], tensor.shape, type, { to: { float32: 1, int32: 6, int64: 7, bool: 9 }[type] });
  }

  /** Serializes the model with these outputs, without unused nodes, constants and inputs. */
  build(outputs: Map<string, SymbolicTensor>): TracedProgram {
    const renamed = new Map<string, string>();
    const copies: OnnxNode[] = [];
    for (const [name, tensor] of outputs) {
      const source = this.nameOf(tensor);
      const producer = this.producers.get(source);
      // A reshaped tensor may carry the name of its source, but an output needs its own shape.
      if (producer && sameShape(producer.shape, tensor.shape) && !renamed.has(source)) renamed.set(source, name);
      else copies.push(this.copyToOutput(source, tensor, name, renamed));
    }
    const live = this.findLiveNodes([
      ...Array.from(outputs.values(), (tensor) => this.nameOf(tensor)),
      ...copies.flatMap((node) => node.inputs),
    ]);
    const rename = (name: string) => renamed.get(name) ?? name;
    const nodes: OnnxNode[] = this.nodes
      .filter((node) => live.has(node))
      .map((node) => ({ ...node, inputs: node.inputs.map(rename), outputs: node.outputs.map(rename) }));
    nodes.push(...copies);

    const used = new Set(nodes.flatMap((node) => node.inputs));
    const inputs = this.inputs.filter((input) => used.has(input.name!));
    const toDims = (shape: number[]) => shape.map((extent) => this.dimensions.toOnnxDimension(extent));
    const bytes = writeOnnxModel({
      nodes,
      inputs: inputs.map(({ name, type, shape }) => ({ name: name!, type, dims: toDims(shape) })),
      outputs: Array.from(outputs, ([name, { type, shape }]) => ({ name, type, dims: toDims(shape) })),
      initializers: [...this.constants.values()].filter(({ name }) => used.has(name)),
    });
    return {
      bytes,
      inputs: inputs.map(({ name }) => name!),
      outputs: [...outputs.keys()],
      nodeCount: nodes.length,
    };
  }

  private copyToOutput(source: string, tensor: SymbolicTensor, name: string, renamed: Map<string, string>): OnnxNode {
    const from = renamed.get(source) ?? source;
    return { op: 'Reshape', inputs: [from, this.shapeOf(tensor.shape)], outputs: [name] };
  }

  private findLiveNodes(names: string[]): Set<Node> {
    const live = new Set<Node>();
    const open = [...names];
    while (open.length > 0) {
      const node = this.producers.get(open.pop()!);
      if (!node || live.has(node)) continue;
      live.add(node);
      open.push(...node.inputs);
    }
    return live;
  }

  private materialize(tensor: SymbolicTensor): string {
    const { shape, type, splat, values, segmentSum } = tensor;
    if (segmentSum) return this.nameOf(this.scatterAdd({ shape, type, splat: 0 }, segmentSum));
    if (splat === undefined) {
      if (!values) throw new Error(`internal: graph: a tensor of shape [${shape}] with neither name nor values`);
      return this.constant(type, shape, values);
    }
    const size = sizeOf(shape);
    if (size <= MAX_INLINE_ELEMENTS && !shape.some((extent) => this.isDynamic(extent)))
      return this.constant(type, shape, filledArray(type, size, splat));
    const one = this.constant(type, [1], filledArray(type, 1, splat));
    return this.nameOf(this.emit('Expand', [one, this.int64List(shape)], shape, type));
  }
}
