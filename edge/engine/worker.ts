// The inside of a policy's thread: loads its serving graph, checks that it computes, then decodes until told to close.
// ONNX Runtime blocks the thread that loads or runs a model; here that is nobody else's.
import { setPriority } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { Tensor } from 'onnxruntime-node';
import { Decoder } from '../../shared/decoder/decoder.ts';
import { openSession } from '../../shared/decoder/session.ts';
import { Scheduler } from './scheduler.ts';
import { warmUp } from './validate-package.ts';
import type { PolicyWorkerOptions, WorkerMessage, WorkerRequest } from './worker-protocol.ts';

const NICENESS = 5;

const port = parentPort!;
const options = workerData as PolicyWorkerOptions;
const post = (message: WorkerMessage) => port.postMessage(message);

// On Linux a priority is a thread's own, and ONNX Runtime's threads inherit this one's: the API, which has little to do
// and must do it at once, goes before the decoder wherever both want a core.
if (process.platform === 'linux') setPriority(NICENESS);

try {
  serve(await openDecoder());
  post({ type: 'ready' });
} catch (error) {
  post({ type: 'unusable', reason: error instanceof Error ? error.message : String(error) });
  port.close();
}

async function openDecoder(): Promise<Decoder> {
  const session = await openSession(join(options.folder, 'onnx', 'serve.onnx'), options.threads);
  const decoder = new Decoder(session, Tensor, options.architecture);
  try {
    await warmUp(decoder);
  } catch (error) {
    await decoder.release();
    throw error;
  }
  return decoder;
}

function serve(decoder: Decoder): void {
  const scheduler = new Scheduler(decoder, options, (events) => post({ type: 'events', events }));
  let isRunning = false;
  let isClosing = false;

  async function work(): Promise<void> {
    if (isRunning) return;
    isRunning = true;
    // What was sent together is heard of together.
    await setImmediate();
    // Messages come in while a turn awaits the runtime, which lets the event loop turn before each run.
    while (!scheduler.isIdle) {
      post({ type: 'turn', ...(await scheduler.step()) });
    }
    isRunning = false;
    if (!isClosing) return;
    await decoder.release();
    port.close();
  }

  port.on('message', (message: WorkerRequest) => {
    if (message.type === 'submit') scheduler.submit(message.job);
    else if (message.type === 'cancel') scheduler.cancel(message.id, message.index);
    else if (message.type === 'close') isClosing = true;
    else throw new Error(`internal: decoder thread: unknown message ${JSON.stringify(message)}`);
    void work();
  });
}
