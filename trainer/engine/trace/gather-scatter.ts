// Kernels that read or write by index, and the fused rotary embedding, a kernel that tfjs lacks.
import { util } from '@tensorflow/tfjs-core';
import { FUSED_ROTARY } from '../../model/rotary.ts';
import { getInput, type KernelCall, type Kernels } from './kernel.ts';

export const gatherScatterKernels: Kernels = {
  GatherV2: ({ graph, inputs, attributes }: KernelCall<{ axis: number; batchDims: number }>) => {
    const x = getInput(inputs, 'x');
    const indices = getInput(inputs, 'indices');
    const axis = util.parseAxisParam(attributes.axis, x.shape)[0]!;
    const { batchDims } = attributes;
    if (batchDims === 0) {
      const shape = [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)];
      return graph.emit('Gather', [x, indices], shape, x.type, { axis });
    }
    // Supports only one element per row along the last axis (GatherElements); ONNX has no general form.
    if (batchDims !== x.shape.length - 1 || axis !== batchDims || indices.shape.length !== x.shape.length)
      throw new Error(`internal: trace: gather of [${x.shape}] at [${indices.shape}] with batchDims ${batchDims}`);
    return graph.emit('GatherElements', [x, indices], indices.shape, x.type, { axis });
  },
  // Emitted later: it is usually added to another gradient, and is then scattered into that one.
  UnsortedSegmentSum: ({ inputs, attributes }: KernelCall<{ numSegments: number }>) => {
    const updates = getInput(inputs, 'x');
    const indices = getInput(inputs, 'segmentIds');
    const shape = [attributes.numSegments, ...updates.shape.slice(indices.shape.length)];
    return { shape, type: updates.type, segmentSum: { indices, updates } };
  },
  // Overwrites instead of adding, so all indices must differ.
  TensorScatterUpdate: ({ graph, inputs }: KernelCall<unknown>) => {
    const target = getInput(inputs, 'tensor');
    const indices = graph.cast(getInput(inputs, 'indices'), 'int64');
    return graph.emit('ScatterND', [target, indices, getInput(inputs, 'updates')], target.shape, target.type);
  },
  [FUSED_ROTARY]: ({ graph, inputs }: KernelCall<unknown>) => {
    const x = getInput(inputs, 'x');
    const [S, T, heads, D] = x.shape as [number, number, number, number];
    const cos = getInput(inputs, 'cos');
    const dims = 2 * cos.shape[1]!;
    // A partial rotation needs both attributes.
    const partial: Record<string, number> = dims < D ? { rotary_embedding_dim: dims, num_heads: heads } : {};
    const flat = graph.reshape(x, [S, T, heads * D]); // [S, T, heads, D] → [S, T, heads·D]
    const rotated = graph.emit(
      'RotaryEmbedding',
      [flat, graph.cast(getInput(inputs, 'positionIds'), 'int64'), cos, getInput(inputs, 'sin')],
      flat.shape,
      x.type,
      { interleaved: 0, ...partial },
      'com.microsoft',
    );
    return graph.reshape(rotated, x.shape); // [S, T, heads·D] → [S, T, heads, D]
  },
};
