// Opens a serving graph in ONNX Runtime with the options that serving was measured with.
import { availableParallelism } from 'node:os';
import { InferenceSession } from 'onnxruntime-node';

/** Blocks the calling thread while it loads. @param path of the .onnx file @param threads inside one operator */
export function openSession(path: string, threads = availableParallelism()): Promise<InferenceSession> {
  return InferenceSession.create(path, {
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    // A step is a thousand short operators: threads that slept between them would take half of its time to wake. They
    // spin for less than a step's gap, so that they leave the processor to the API and to another policy.
    extra: { session: { intra_op: { allow_spinning: '1', spin_duration_us: '50' } } },
  });
}
