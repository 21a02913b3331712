// Elementwise kernels. Operations on splats are folded while tracing, and adding the zeros or multiplying by the ones
// that tfjs's gradients start from emits no node.
import { backend_util as shapes } from '@tensorflow/tfjs-core';
import type { Graph } from './graph.ts';
import { getInput, type Kernel, type KernelCall, type Kernels } from './kernel.ts';
import { type ElementType, filledArray, type SymbolicTensor, sameShape } from './symbolic-tensor.ts';

type Call = KernelCall<unknown>;
type Fold = (a: number, b: number) => number;

function unary(op: string, fold?: (x: number) => number): Kernel {
  return ({ graph, inputs }: Call) => {
    const x = getInput(inputs, 'x');
    if (fold && x.splat !== undefined) return { shape: x.shape, type: x.type, splat: fold(x.splat) };
    return graph.emit(op, [x], x.shape, x.type);
  };
}

/** `neutral`: the value that leaves the other operand unchanged, as the right operand only or as either one. */
function binary(op: string, options: { fold?: Fold; neutral?: { value: number; either: boolean } } = {}): Kernel {
  return ({ graph, inputs }: Call) => {
    const [a, b, shape] = operands(inputs);
    if (options.fold && a.splat !== undefined && b.splat !== undefined)
      return { shape, type: a.type, splat: options.fold(a.splat, b.splat) };
    const { neutral } = options;
    if (neutral && b.splat === neutral.value && sameShape(shape, a.shape)) return a;
    if (neutral?.either && a.splat === neutral.value && sameShape(shape, b.shape)) return b;
    if (op === 'Add') {
      if (b.segmentSum && sameShape(a.shape, b.shape)) return graph.scatterAdd(a, b.segmentSum);
      if (a.segmentSum && sameShape(a.shape, b.shape)) return graph.scatterAdd(b, a.segmentSum);
    }
    return graph.emit(op, broadcastOperands(graph, a, b, shape), shape, a.type);
  };
}

function comparison(op: string): Kernel {
  return ({ graph, inputs }: Call) => {
    const [a, b, shape] = operands(inputs);
    return graph.emit(op, broadcastOperands(graph, a, b, shape), shape, 'bool');
  };
}

function operands(inputs: Record<string, SymbolicTensor>): [SymbolicTensor, SymbolicTensor, number[]] {
  const a = getInput(inputs, 'a');
  const b = getInput(inputs, 'b');
  return [a, b, shapes.assertAndGetBroadcastShape(a.shape, b.shape)];
}

/** A splat may become a scalar only if the other operand alone has the shape of the result. */
function broadcastOperands(graph: Graph, a: SymbolicTensor, b: SymbolicTensor, shape: number[]): [string, string] {
  return [
    sameShape(shape, b.shape) ? graph.broadcastOperand(a) : graph.nameOf(a),
    sameShape(shape, a.shape) ? graph.broadcastOperand(b) : graph.nameOf(b),
  ];
}

function not(graph: Graph, x: SymbolicTensor): SymbolicTensor {
  return graph.emit('Not', [x], x.shape, 'bool');
}

function filled(shape: number[], type: ElementType, splat: number): SymbolicTensor {
  return { shape, type, splat };
}

export const elementwiseKernels: Kernels = {
  Neg: unary('Neg', (x) => -x),
  Exp: unary('Exp', Math.exp),
  Log: unary('Log', Math.log),
  Sqrt: unary('Sqrt', Math.sqrt),
  Abs: unary('Abs', Math.abs),
  Sigmoid: unary('Sigmoid'),
  Tanh: unary('Tanh', Math.tanh),
  Erf: unary('Erf'),
  Relu: unary('Relu'),
  Softplus: unary('Softplus'),
  Reciprocal: unary('Reciprocal', (x) => 1 / x),
  Rsqrt: ({ graph, inputs }: Call) => {
    const x = getInput(inputs, 'x');
    return graph.emit('Reciprocal', [graph.emit('Sqrt', [x], x.shape, x.type)], x.shape, x.type);
  },
  Square: ({ graph, inputs }: Call) => {
    const x = getInput(inputs, 'x');
    return graph.emit('Mul', [x, x], x.shape, x.type);
  },
  // The gradient of relu: 1 above zero, otherwise 0.
  Step: ({ graph, inputs }: Call) => {
    const x = getInput(inputs, 'x');
    const zero = graph.constant(x.type, [], filledArray(x.type, 1, 0));
    return graph.cast(graph.emit('Greater', [x, zero], x.shape, 'bool'), x.type);
  },
  Add: binary('Add', { fold: (a, b) => a + b, neutral: { value: 0, either: true } }),
  Sub: binary('Sub', { fold: (a, b) => a - b, neutral: { value: 0, either: false } }),
  Multiply: binary('Mul', { fold: (a, b) => a * b, neutral: { value: 1, either: true } }),
  RealDiv: binary('Div', { fold: (a, b) => a / b, neutral: { value: 1, either: false } }),
  Maximum: binary('Max', { fold: Math.max }),
  Minimum: binary('Min', { fold: Math.min }),
  Equal: comparison('Equal'),
  Greater: comparison('Greater'),
  GreaterEqual: comparison('GreaterOrEqual'),
  Less: comparison('Less'),
  LessEqual: comparison('LessOrEqual'),
  LogicalAnd: comparison('And'),
  LogicalOr: ({ graph, inputs }: Call) => {
    const [a, b, shape] = operands(inputs);
    if (graph.target === 'cpu') return graph.emit('Or', broadcastOperands(graph, a, b, shape), shape, 'bool');
    return not(graph, graph.emit('And', [not(graph, a), not(graph, b)], shape, 'bool'));
  },
  LogicalNot: ({ graph, inputs }: Call) => not(graph, getInput(inputs, 'x')),
  Select: ({ graph, inputs }: Call) => {
    const then = getInput(inputs, 't');
    return graph.emit('Where', [getInput(inputs, 'condition'), then, getInput(inputs, 'e')], then.shape, then.type);
  },
  AddN: ({ graph, inputs }: Call) => {
    const terms = Object.values(inputs);
    return graph.emit('Sum', terms, terms[0]!.shape, terms[0]!.type);
  },
  Cast: ({ graph, inputs, attributes }: KernelCall<{ dtype: ElementType }>) =>
    graph.cast(getInput(inputs, 'x'), attributes.dtype),
  Identity: ({ inputs }: Call) => getInput(inputs, 'x'),
  Fill: ({ attributes }: KernelCall<{ shape: number[]; value: number; dtype?: ElementType }>) =>
    filled(attributes.shape, attributes.dtype ?? 'float32', attributes.value),
  OnesLike: ({ inputs }: Call) => filled(getInput(inputs, 'x').shape, getInput(inputs, 'x').type, 1),
  ZerosLike: ({ inputs }: Call) => filled(getInput(inputs, 'x').shape, getInput(inputs, 'x').type, 0),
  Range: ({ graph, attributes }: KernelCall<{ start: number; stop: number; step: number; dtype: ElementType }>) => {
    const { start, stop, step, dtype } = attributes;
    if (graph.isDynamic(stop)) {
      const scalar = (value: number) => graph.constant(dtype, [], filledArray(dtype, 1, value));
      const end = graph.reshape(graph.cast(graph.extentTensor(stop), dtype), []);
      return graph.emit('Range', [scalar(start), end, scalar(step)], [stop], dtype);
    }
    const count = Math.max(0, Math.ceil((stop - start) / step));
    const values = filledArray(dtype, count, 0);
    for (let i = 0; i < count; i++) values[i] = start + i * step;
    return { shape: [count], type: dtype, values };
  },
};
