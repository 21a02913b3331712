// Kernels that read or write by index, and the rotary kernel that tfjs does not have.
import { util } from '@tensorflow/tfjs-core';
import { FUSED_ROTARY } from '../../model/rotary.ts';
import { input, type KernelCall, type Kernels } from './kernel.ts';

export const lookupKernels: Kernels = {
  GatherV2: ({ graph, inputs, attributes }: KernelCall<{ axis: number; batchDims: number }>) => {
    const x = input(inputs, 'x');
    const indices = input(inputs, 'indices');
    const axis = util.parseAxisParam(attributes.axis, x.shape)[0]!;
    const { batchDims } = attributes;
    if (batchDims === 0) {
      const shape = [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)];
      return graph.emit('Gather', [x, indices], shape, x.type, { axis });
    }
    // One element per row along the last axis is all that the head needs, and ONNX has no general form.
    if (batchDims !== x.shape.length - 1 || axis !== batchDims || indices.shape.length !== x.shape.length)
      throw new Error(`internal: trace: gather of [${x.shape}] at [${indices.shape}] with batchDims ${batchDims}`);
    return graph.emit('GatherElements', [x, indices], indices.shape, x.type, { axis });
  },
  // Not emitted yet: most of the time it is added to another gradient, and then goes straight into that.
  UnsortedSegmentSum: ({ inputs, attributes }: KernelCall<{ numSegments: number }>) => {
    const updates = input(inputs, 'x');
    const indices = input(inputs, 'segmentIds');
    const shape = [attributes.numSegments, ...updates.shape.slice(indices.shape.length)];
    return { shape, type: updates.type, rows: { indices, updates } };
  },
  // Overwrites, so it needs indices that are all different.
  TensorScatterUpdate: ({ graph, inputs }: KernelCall<unknown>) => {
    const target = input(inputs, 'tensor');
    const indices = graph.cast(input(inputs, 'indices'), 'int64');
    return graph.emit('ScatterND', [target, indices, input(inputs, 'updates')], target.shape, target.type);
  },
  [FUSED_ROTARY]: ({ graph, inputs }: KernelCall<unknown>) => {
    const x = input(inputs, 'x');
    const [S, T, heads, D] = x.shape as [number, number, number, number];
    const cos = input(inputs, 'cos');
    const dims = 2 * cos.shape[1]!;
    const part: Record<string, number> = dims < D ? { rotary_embedding_dim: dims, num_heads: heads } : {};
    const flat = graph.reshape(x, [S, T, heads * D]); // [S, T, heads, D] → [S, T, heads·D]
    const turned = graph.emit(
      'RotaryEmbedding',
      [flat, graph.cast(input(inputs, 'positionIds'), 'int64'), cos, input(inputs, 'sin')],
      flat.shape,
      x.type,
      { interleaved: 0, ...part },
      'com.microsoft',
    );
    return graph.reshape(turned, x.shape);
  },
};
