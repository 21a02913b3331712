// Kernels that reduce along axes, and the two softmaxes.
import { util } from '@tensorflow/tfjs-core';
import { type Symbolic, sizeOf } from './graph.ts';
import { input, type Kernel, type KernelCall, type Kernels } from './kernel.ts';

type ReduceAttributes = { axis?: number | number[]; reductionIndices?: number | number[]; keepDims?: boolean };

function reduction(op: string, fold: (value: number, count: number) => number): Kernel {
  return ({ graph, inputs, attributes }: KernelCall<ReduceAttributes>) => {
    const x = input(inputs, 'x');
    const all = x.shape.map((_, axis) => axis);
    const axes = util.parseAxisParam(attributes.axis ?? attributes.reductionIndices ?? all, x.shape);
    const shape = attributes.keepDims
      ? x.shape.map((extent, axis) => (axes.includes(axis) ? 1 : extent))
      : x.shape.filter((_, axis) => !axes.includes(axis));
    const count = sizeOf(axes.map((axis) => x.shape[axis]!));
    if (x.splat !== undefined) return { shape, type: x.type, splat: fold(x.splat, count) };
    if (count === 1) return graph.reshape(x, shape);
    return graph.emit(op, [x, graph.list(axes)], shape, x.type, { keepdims: attributes.keepDims ? 1 : 0 });
  };
}

type SoftmaxCall = KernelCall<{ dim?: number; axis?: number }>;

function softmax(op: string): (call: SoftmaxCall) => Symbolic {
  return ({ graph, inputs, attributes }) => {
    const x = input(inputs, 'logits');
    const axis = util.parseAxisParam(attributes.dim ?? attributes.axis ?? -1, x.shape)[0]!;
    return graph.emit(op, [x], x.shape, x.type, { axis });
  };
}

/** WebGPU has no such kernel. */
function logSoftmax(call: SoftmaxCall): Symbolic {
  if (call.graph.target === 'cpu') return softmax('LogSoftmax')(call);
  const { graph } = call;
  const x = input(call.inputs, 'logits');
  const along = (op: string, of: Symbolic) =>
    graph.emit(op, [of, graph.list([x.shape.length - 1])], [...x.shape.slice(0, -1), 1], x.type, { keepdims: 1 });
  const like = (op: string, ...operands: Symbolic[]) => graph.emit(op, operands, operands[0]!.shape, x.type);
  const shifted = like('Sub', x, along('ReduceMax', x));
  return like('Sub', shifted, like('Log', along('ReduceSum', like('Exp', shifted))));
}

export const reduceKernels: Kernels = {
  Sum: reduction('ReduceSum', (value, count) => value * count),
  Mean: reduction('ReduceMean', (value) => value),
  Max: reduction('ReduceMax', (value) => value),
  Min: reduction('ReduceMin', (value) => value),
  Softmax: softmax('Softmax'),
  LogSoftmax: logSoftmax,
};
