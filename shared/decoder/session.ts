// Opens a serving graph in native ONNX Runtime, with the session options that measured fastest.
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { InferenceSession } from 'onnxruntime-node';
import { toUnsignedName } from '../onnx/unsigned-name.ts';
import { multipliesSignedExactly } from './signed-products.ts';

/** Blocks the calling thread while it loads the .onnx file at `path`. `threads` is the number inside one operator. */
export async function openSession(path: string, threads = availableParallelism()): Promise<InferenceSession> {
  return InferenceSession.create(await selectGraph(path), {
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    // A step is a thousand short operators: waking sleeping threads between them would take half of its time. They spin
    // for less than the gap between two steps, so that the processor is free for the API and other policies.
    // Softmax turns masked scores into denormal numbers, which take Intel processors a hundred times as long as others.
    extra: { session: { intra_op: { allow_spinning: '1', spin_duration_us: '50' }, set_denormal_as_zero: '1' } },
  });
}

/** The graph at `path`, or its form with unsigned weights where products of signed ones saturate. */
async function selectGraph(path: string): Promise<string> {
  const unsigned = toUnsignedName(path);
  return existsSync(unsigned) && !(await multipliesSignedExactly()) ? unsigned : path;
}
