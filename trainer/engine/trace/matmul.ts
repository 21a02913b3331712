// Matrix multiplication: Gemm for two matrices, MatMul for batches, and ONNX Runtime's FusedMatMul where a batch would
// have to be transposed first. WebGPU has no FusedMatMul, so there it is transposed.
import { backend_util } from '@tensorflow/tfjs-core';
import type { Graph, Symbolic } from './graph.ts';
import { input, type KernelCall, type Kernels } from './kernel.ts';
import { transpose } from './shape.ts';

/** [..., m, n] → [..., n, m] */
function turnLast(graph: Graph, x: Symbolic): Symbolic {
  const last = x.shape.length - 1;
  return transpose(graph, x, [...x.shape.keys()].slice(0, -2).concat(last, last - 1));
}

export const multiplyKernels: Kernels = {
  BatchMatMul: ({ graph, inputs, attributes }: KernelCall<{ transposeA: boolean; transposeB: boolean }>) => {
    const a = input(inputs, 'a'); // [..., m, k], or [..., k, m] when transposed
    const b = input(inputs, 'b'); // [..., k, n], or [..., n, k] when transposed
    const m = a.shape.at(attributes.transposeA ? -1 : -2)!;
    const n = b.shape.at(attributes.transposeB ? -2 : -1)!;
    const batch = backend_util.assertAndGetBroadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2));
    const shape = [...batch, m, n];
    const flags = { transA: attributes.transposeA ? 1 : 0, transB: attributes.transposeB ? 1 : 0 };
    if (batch.every((extent) => extent === 1)) {
      const left = graph.reshape(a, a.shape.slice(-2));
      const right = graph.reshape(b, b.shape.slice(-2));
      return graph.reshape(graph.emit('Gemm', [left, right], [m, n], a.type, flags), shape);
    }
    if (!flags.transA && !flags.transB) return graph.emit('MatMul', [a, b], shape, a.type);
    if (graph.target === 'webgpu') {
      const left = flags.transA ? turnLast(graph, a) : a;
      const right = flags.transB ? turnLast(graph, b) : b;
      return graph.emit('MatMul', [left, right], shape, a.type);
    }
    return graph.emit('FusedMatMul', [a, b], shape, a.type, flags, 'com.microsoft');
  },
};
