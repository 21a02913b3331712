// Opens a serving graph in ONNX Runtime with the options that serving was measured with.
import { availableParallelism } from 'node:os';
import { InferenceSession } from 'onnxruntime-node';

/** Blocks the calling thread while it loads. @param path of the .onnx file @param threads inside one operator */
export function openSession(path: string, threads = availableParallelism()): Promise<InferenceSession> {
  return InferenceSession.create(path, {
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    // Shapes change with every row that joins, and a pattern per shape is memory that is never used again.
    enableMemPattern: false,
    // Spinning threads would take the processor from the other policy during a swap, and from the API always.
    extra: { session: { intra_op: { allow_spinning: '0' } } },
  });
}
