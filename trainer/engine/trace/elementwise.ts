// Kernels that work element by element. Operations on repeated numbers are done right here, and adding the zeros or
// multiplying by the ones that tfjs's gradients start from emits nothing.
import { backend_util as shapes } from '@tensorflow/tfjs-core';
import { type ElementType, type Graph, type Symbolic, sameShape, valuesOf } from './graph.ts';
import { input, type Kernel, type KernelCall, type Kernels } from './kernel.ts';

type Call = KernelCall<unknown>;
type Fold = (a: number, b: number) => number;

function unary(op: string, fold?: (x: number) => number): Kernel {
  return ({ graph, inputs }: Call) => {
    const x = input(inputs, 'x');
    if (fold && x.splat !== undefined) return { shape: x.shape, type: x.type, splat: fold(x.splat) };
    return graph.emit(op, [x], x.shape, x.type);
  };
}

/** `neutral`: the number that leaves the other operand as it is, on the right or on either side. */
function binary(op: string, options: { fold?: Fold; neutral?: { value: number; either: boolean } } = {}): Kernel {
  return ({ graph, inputs }: Call) => {
    const [a, b, shape] = operands(inputs);
    if (options.fold && a.splat !== undefined && b.splat !== undefined)
      return { shape, type: a.type, splat: options.fold(a.splat, b.splat) };
    const { neutral } = options;
    if (neutral && b.splat === neutral.value && sameShape(shape, a.shape)) return a;
    if (neutral?.either && a.splat === neutral.value && sameShape(shape, b.shape)) return b;
    if (op === 'Add') {
      if (b.rows && sameShape(a.shape, b.shape)) return graph.addRows(a, b.rows);
      if (a.rows && sameShape(a.shape, b.shape)) return graph.addRows(b, a.rows);
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

function operands(inputs: Record<string, Symbolic>): [Symbolic, Symbolic, number[]] {
  const a = input(inputs, 'a');
  const b = input(inputs, 'b');
  return [a, b, shapes.assertAndGetBroadcastShape(a.shape, b.shape)];
}

/** A repeated number may shrink to a scalar only where the other operand alone gives the result its shape. */
function broadcastOperands(graph: Graph, a: Symbolic, b: Symbolic, shape: number[]): [string, string] {
  return [
    sameShape(shape, b.shape) ? graph.broadcast(a) : graph.nameOf(a),
    sameShape(shape, a.shape) ? graph.broadcast(b) : graph.nameOf(b),
  ];
}

function not(graph: Graph, x: Symbolic): Symbolic {
  return graph.emit('Not', [x], x.shape, 'bool');
}

function filled(shape: number[], type: ElementType, splat: number): Symbolic {
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
    const x = input(inputs, 'x');
    return graph.emit('Reciprocal', [graph.emit('Sqrt', [x], x.shape, x.type)], x.shape, x.type);
  },
  Square: ({ graph, inputs }: Call) => {
    const x = input(inputs, 'x');
    return graph.emit('Mul', [x, x], x.shape, x.type);
  },
  // The gradient of relu: 1 above zero, else 0.
  Step: ({ graph, inputs }: Call) => {
    const x = input(inputs, 'x');
    const zero = graph.constant(x.type, [], valuesOf(x.type, 1, 0));
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
  LogicalNot: ({ graph, inputs }: Call) => not(graph, input(inputs, 'x')),
  Select: ({ graph, inputs }: Call) => {
    const then = input(inputs, 't');
    return graph.emit('Where', [input(inputs, 'condition'), then, input(inputs, 'e')], then.shape, then.type);
  },
  AddN: ({ graph, inputs }: Call) => {
    const terms = Object.values(inputs);
    return graph.emit('Sum', terms, terms[0]!.shape, terms[0]!.type);
  },
  Cast: ({ graph, inputs, attributes }: KernelCall<{ dtype: ElementType }>) =>
    graph.cast(input(inputs, 'x'), attributes.dtype),
  Identity: ({ inputs }: Call) => input(inputs, 'x'),
  Fill: ({ attributes }: KernelCall<{ shape: number[]; value: number; dtype?: ElementType }>) =>
    filled(attributes.shape, attributes.dtype ?? 'float32', attributes.value),
  OnesLike: ({ inputs }: Call) => filled(input(inputs, 'x').shape, input(inputs, 'x').type, 1),
  ZerosLike: ({ inputs }: Call) => filled(input(inputs, 'x').shape, input(inputs, 'x').type, 0),
  Range: ({ graph, attributes }: KernelCall<{ start: number; stop: number; step: number; dtype: ElementType }>) => {
    const { start, stop, step, dtype } = attributes;
    if (graph.isFree(stop)) {
      const one = (value: number) => graph.constant(dtype, [], valuesOf(dtype, 1, value));
      const end = graph.reshape(graph.cast(graph.extent(stop), dtype), []);
      return graph.emit('Range', [one(start), end, one(step)], [stop], dtype);
    }
    const count = Math.max(0, Math.ceil((stop - start) / step));
    const values = valuesOf(dtype, count, 0);
    for (let i = 0; i < count; i++) values[i] = start + i * step;
    return { shape: [count], type: dtype, values };
  },
};
