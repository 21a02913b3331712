// Kernels that only move elements. Reshapes and transposes that undo each other emit no node.
import { backend_util, slice_util, util } from '@tensorflow/tfjs-core';
import type { Graph } from './graph.ts';
import { getInput, type KernelCall, type Kernels } from './kernel.ts';
import { filledArray, type SymbolicTensor, sameShape, sizeOf } from './symbolic-tensor.ts';

export function transpose(graph: Graph, x: SymbolicTensor, perm: number[]): SymbolicTensor {
  if (perm.every((axis, i) => axis === i)) return x;
  const shape = perm.map((axis) => x.shape[axis]!);
  // A transpose that only moves axes of extent 1 is a reshape.
  const axes = perm.filter((axis) => x.shape[axis] !== 1);
  if (axes.every((axis, i) => i === 0 || axis > axes[i - 1]!)) return graph.reshape(x, shape);
  const name = graph.nameOf(x);
  const producer = graph.producerOf(name);
  if (producer?.op !== 'Transpose' || !sameShape(producer.shape, x.shape))
    return graph.emit('Transpose', [name], shape, x.type, { perm });
  const source = producer.inputs[0]!;
  const combined = perm.map((axis) => (producer.attributes!.perm as number[])[axis]!);
  if (combined.every((axis, i) => axis === i)) return { name: source, shape, type: x.type };
  return graph.emit('Transpose', [source], shape, x.type, { perm: combined });
}

/** `size` elements from `begin`; axes whose whole extent is kept are not sliced. */
function slice(graph: Graph, x: SymbolicTensor, begin: number[], size: number[]): SymbolicTensor {
  if (sameShape(size, x.shape)) return x;
  const axes = x.shape.map((_, axis) => axis).filter((axis) => size[axis] !== x.shape[axis]);
  const from = axes.map((axis) => begin[axis]!);
  const to = axes.map((axis) => begin[axis]! + size[axis]!);
  return graph.emit('Slice', [x, graph.int64List(from), graph.int64List(to), graph.int64List(axes)], size, x.type);
}

function concat(graph: Graph, parts: SymbolicTensor[], axis: number): SymbolicTensor {
  const first = parts[0]!;
  if (parts.length === 1) return first;
  const shape = first.shape.slice();
  shape[axis] = parts.reduce((sum, part) => sum + part.shape[axis]!, 0);
  return graph.emit('Concat', parts, shape, first.type, { axis });
}

function insertAxis(shape: number[], axis: number): number[] {
  return [...shape.slice(0, axis), 1, ...shape.slice(axis)];
}

export const shapeKernels: Kernels = {
  Reshape: ({ graph, inputs, attributes }: KernelCall<{ shape: number[] }>) => {
    const x = getInput(inputs, 'x');
    return graph.reshape(x, util.inferFromImplicitShape(attributes.shape, sizeOf(x.shape)));
  },
  ExpandDims: ({ graph, inputs, attributes }: KernelCall<{ dim: number }>) => {
    const x = getInput(inputs, 'input');
    const axis = attributes.dim < 0 ? x.shape.length + attributes.dim + 1 : attributes.dim;
    return graph.reshape(x, insertAxis(x.shape, axis));
  },
  Transpose: ({ graph, inputs, attributes }: KernelCall<{ perm: number[] }>) =>
    transpose(graph, getInput(inputs, 'x'), attributes.perm),
  Slice: ({ graph, inputs, attributes }: KernelCall<{ begin: number[]; size: number[] }>) => {
    const x = getInput(inputs, 'x');
    // The declared type is a tensor, but tfjs reads only its shape.
    const like = { shape: x.shape } as Parameters<typeof slice_util.parseSliceParams>[0];
    const [begin, size] = slice_util.parseSliceParams(like, attributes.begin, attributes.size);
    return slice(graph, x, begin!, size!);
  },
  Concat: ({ graph, inputs, attributes }: KernelCall<{ axis: number }>) => {
    const parts = Object.values(inputs).filter((part) => sizeOf(part.shape) > 0);
    return concat(graph, parts, util.parseAxisParam(attributes.axis, parts[0]!.shape)[0]!);
  },
  Pack: ({ graph, inputs, attributes }: KernelCall<{ axis: number }>) => {
    const parts = Object.values(inputs).map((x) => graph.reshape(x, insertAxis(x.shape, attributes.axis)));
    return concat(graph, parts, attributes.axis);
  },
  SplitV: ({ graph, inputs, attributes }: KernelCall<{ numOrSizeSplits: number[] | number; axis: number }>) => {
    const x = getInput(inputs, 'x');
    const axis = util.parseAxisParam(attributes.axis, x.shape)[0]!;
    const like = { shape: x.shape } as Parameters<typeof backend_util.prepareSplitSize>[0];
    let offset = 0;
    return backend_util.prepareSplitSize(like, attributes.numOrSizeSplits, axis).map((length) => {
      const begin = x.shape.map((_, i) => (i === axis ? offset : 0));
      offset += length;
      return slice(
        graph,
        x,
        begin,
        x.shape.map((extent, i) => (i === axis ? length : extent)),
      );
    });
  },
  PadV2: ({ graph, inputs, attributes }: KernelCall<{ paddings: [number, number][]; constantValue?: number }>) => {
    const x = getInput(inputs, 'x');
    const { paddings, constantValue = 0 } = attributes;
    const amounts = graph.int64List([...paddings.map(([before]) => before), ...paddings.map(([, after]) => after)]);
    const value = graph.constant(x.type, [], filledArray(x.type, 1, constantValue));
    const shape = x.shape.map((extent, axis) => extent + paddings[axis]![0] + paddings[axis]![1]);
    return graph.emit('Pad', [x, amounts, value], shape, x.type);
  },
  Tile: ({ graph, inputs, attributes }: KernelCall<{ reps: number[] }>) => {
    const x = getInput(inputs, 'x');
    const { reps } = attributes;
    const shape = x.shape.map((extent, axis) => extent * reps[axis]!);
    if (x.splat !== undefined) return { shape, type: x.type, splat: x.splat };
    const expands = x.shape.every((extent, axis) => extent === 1 || reps[axis] === 1);
    return graph.emit(expands ? 'Expand' : 'Tile', [x, graph.int64List(expands ? shape : reps)], shape, x.type);
  },
};
