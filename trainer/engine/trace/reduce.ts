// Reductions along axes, softmax and log-softmax.
import { util } from '@tensorflow/tfjs-core';
import { getInput, type Kernel, type KernelCall, type Kernels } from './kernel.ts';
import { type SymbolicTensor, sizeOf } from './symbolic-tensor.ts';

type ReduceAttributes = { axis?: number | number[]; reductionIndices?: number | number[]; keepDims?: boolean };

function reduction(op: string, fold: (value: number, count: number) => number): Kernel {
  return ({ graph, inputs, attributes }: KernelCall<ReduceAttributes>) => {
    const x = getInput(inputs, 'x');
    const all = x.shape.map((_, axis) => axis);
    const axes = util.parseAxisParam(attributes.axis ?? attributes.reductionIndices ?? all, x.shape);
    const shape = attributes.keepDims
      ? x.shape.map((extent, axis) => (axes.includes(axis) ? 1 : extent))
      : x.shape.filter((_, axis) => !axes.includes(axis));
    const count = sizeOf(axes.map((axis) => x.shape[axis]!));
    if (x.splat !== undefined) return { shape, type: x.type, splat: fold(x.splat, count) };
    if (count === 1) return graph.reshape(x, shape);
    return graph.emit(op, [x, graph.int64List(axes)], shape, x.type, { keepdims: attributes.keepDims ? 1 : 0 });
  };
}

type SoftmaxCall = KernelCall<{ dim?: number; axis?: number }>;

function softmax(op: string): (call: SoftmaxCall) => SymbolicTensor {
  return ({ graph, inputs, attributes }) => {
    const x = getInput(inputs, 'logits');
    const axis = util.parseAxisParam(attributes.dim ?? attributes.axis ?? -1, x.shape)[0]!;
    return graph.emit(op, [x], x.shape, x.type, { axis });
  };
}

/** WebGPU has no LogSoftmax kernel, so there it is composed: x − max − log Σ exp(x − max). */
function logSoftmax(call: SoftmaxCall): SymbolicTensor {
  if (call.graph.target === 'cpu') return softmax('LogSoftmax')(call);
  const { graph } = call;
  const x = getInput(call.inputs, 'logits');
  const reduceLast = (op: string, of: SymbolicTensor) =>
    graph.emit(op, [of, graph.int64List([x.shape.length - 1])], [...x.shape.slice(0, -1), 1], x.type, { keepdims: 1 });
  const elementwise = (op: string, ...operands: SymbolicTensor[]) =>
    graph.emit(op, operands, operands[0]!.shape, x.type);
  const shifted = elementwise('Sub', x, reduceLast('ReduceMax', x));
  return elementwise('Sub', shifted, elementwise('Log', reduceLast('ReduceSum', elementwise('Exp', shifted))));
}

export const reduceKernels: Kernels = {
  Sum: reduction('ReduceSum', (value, count) => value * count),
  Mean: reduction('ReduceMean', (value) => value),
  Max: reduction('ReduceMax', (value) => value),
  Min: reduction('ReduceMin', (value) => value),
  Softmax: softmax('Softmax'),
  LogSoftmax: logSoftmax,
};
