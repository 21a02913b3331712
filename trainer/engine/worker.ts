// The worker thread of an engine, because ONNX Runtime and TensorFlow block their calling thread. Calls arrive as
// messages and run in order. After `close` the thread exits on its own: terminating it in the middle of a run aborts the
// process.
import { parentPort } from 'node:worker_threads';
import { isObjectiveModule } from '../../shared/hyperparameters.ts';
import { readCheckpoint } from '../../shared/model/checkpoint.ts';
import { buffersOf, type Weights } from '../../shared/model/tensor.ts';
import { loadDivergence } from '../divergence.ts';
import { type DeviceOptions, loadPolicy } from './device.ts';
import { DeviceEngine, type DeviceEngineOptions } from './device-engine.ts';
import { type EngineChoice, openDevice } from './select-device.ts';
import { type Call, serializeError } from './worker-rpc.ts';

export type OpenOptions = Omit<DeviceEngineOptions, 'engine'> &
  DeviceOptions & {
    engine: EngineChoice;
    /** Or the folder of the checkpoint that has them. */
    weights: Weights | string;
  };

const port = parentPort!;
let engine: DeviceEngine | undefined;
let last: Promise<void> = Promise.resolve();

port.on('message', (call: Call) => {
  last = last.then(() => handle(call));
});

async function handle({ id, method, args }: Call): Promise<void> {
  try {
    const result = await run(method, args);
    // A copy that nobody else holds.
    port.postMessage({ id, result }, method === 'weights' ? buffersOf(result as Weights) : []);
  } catch (error) {
    port.postMessage({ id, error: serializeError(error) });
  }
  if (method === 'close') port.close();
}

async function run(method: string, args: unknown[]): Promise<unknown> {
  if (method === 'open') {
    const { engine: choice, weights: source, ...options } = args[0] as OpenOptions;
    if (isObjectiveModule(options.objective.objective)) await loadDivergence(options.objective.objective);
    const { name, device } = await openDevice(choice, options);
    const weights =
      typeof source === 'string' ? (await readCheckpoint(source, options.architecture.output)).weights : source;
    loadPolicy(device, weights, options);
    // As large as the policy, so they are freed without waiting for garbage collection.
    if (!options.lora) for (const buffer of buffersOf(weights)) buffer.transfer(0);
    engine = new DeviceEngine(device, { ...options, engine: name }, options.lora ? weights : undefined);
    return name;
  }
  if (!engine) throw new Error(`internal: engine worker: ${method} before open`);
  const implementation = engine[method as keyof DeviceEngine] as (...args: unknown[]) => unknown;
  return implementation.apply(engine, args);
}
