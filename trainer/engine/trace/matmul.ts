// Matrix multiplication: Gemm for two matrices, MatMul for batches, and ONNX Runtime's FusedMatMul for batches with a
// transposed operand. WebGPU has no FusedMatMul, so there the operand is transposed first.
import { backend_util } from '@tensorflow/tfjs-core';
import type { Graph } from './graph.ts';
import { getInput, type KernelCall, type Kernels } from './kernel.ts';
import { transpose } from './shape.ts';
import type { SymbolicTensor } from './symbolic-tensor.ts';

/** [..., m, n] → [..., n, m] */
function transposeLastTwo(graph: Graph, x: SymbolicTensor): SymbolicTensor {
  const last = x.shape.length - 1;
  return transpose(graph, x, [...x.shape.keys()].slice(0, -2).concat(last, last - 1));
}

export const matmulKernels: Kernels = {
  BatchMatMul: ({ graph, inputs, attributes }: KernelCall<{ transposeA: boolean; transposeB: boolean }>) => {
    const a = getInput(inputs, 'a'); // [..., m, k], or [..., k, m] when transposed
    const b = getInput(inputs, 'b'); // [..., k, n], or [..., n, k] when transposed
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
      const left = flags.transA ? transposeLastTwo(graph, a) : a;
      const right = flags.transB ? transposeLastTwo(graph, b) : b;
      return graph.emit('MatMul', [left, right], shape, a.type);
    }
    return graph.emit('FusedMatMul', [a, b], shape, a.type, flags, 'com.microsoft');
  },
};
