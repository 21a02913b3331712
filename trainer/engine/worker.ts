// The thread that an engine computes in: ONNX Runtime and TensorFlow block whoever calls them. Calls come as messages and are
// answered in their order; after `close` the thread ends by itself, because ending it from outside in the middle of a
// run would abort the whole process.
import { parentPort } from 'node:worker_threads';
import type { Weights } from '../../shared/model/safetensors.ts';
import { isModule, loadDivergence } from '../divergence.ts';
import type { DeviceOptions } from './device.ts';
import { Learner, type LearnerOptions } from './device-engine.ts';
import { loadPolicy } from './lora.ts';
import { type EngineChoice, openDevice } from './select-device.ts';
import { type Call, toFailure } from './worker-rpc.ts';

export type OpenOptions = LearnerOptions & DeviceOptions & { engine: EngineChoice; weights: Weights };

const port = parentPort!;
let learner: Learner | undefined;
let last: Promise<void> = Promise.resolve();

port.on('message', (call: Call) => {
  last = last.then(() => answer(call));
});

async function answer({ id, method, args }: Call): Promise<void> {
  try {
    port.postMessage({ id, result: await run(method, args) });
  } catch (error) {
    port.postMessage({ id, failure: toFailure(error) });
  }
  if (method === 'close') port.close();
}

async function run(method: string, args: unknown[]): Promise<unknown> {
  if (method === 'open') {
    const { engine, weights, ...options } = args[0] as OpenOptions;
    if (isModule(options.objective.objective)) await loadDivergence(options.objective.objective);
    const { name, device } = await openDevice(engine, options);
    loadPolicy(device, weights, options);
    // Messages are copies, and this one is as large as the policy: gone now, not when somebody collects garbage.
    if (!options.lora) freeBuffers(weights);
    learner = new Learner(device, options, options.lora ? weights : undefined);
    return name;
  }
  if (!learner) throw new Error(`internal: engine worker: ${method} before open`);
  const work = learner[method as keyof Learner] as (...args: unknown[]) => unknown;
  return work.apply(learner, args);
}

/** Several tensors may lie in one buffer. */
function freeBuffers(weights: Weights): void {
  for (const buffer of new Set(Array.from(weights.values(), ({ data }) => data.buffer as ArrayBuffer)))
    buffer.transfer(0);
}
