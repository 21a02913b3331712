// A policy's worker thread: loads its serving graph, warms it up, and decodes until the main thread closes it. ONNX
// Runtime blocks the thread that loads or runs a model, so it does not run on the API's thread.
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { setPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { type InferenceSession, Tensor } from 'onnxruntime-node';
import { Decoder } from '../../shared/decoder/decoder.ts';
import { openSession } from '../../shared/decoder/session.ts';
import { getErrorMessage } from '../../shared/error.ts';
import { Constraints } from '../grammar/constraint.ts';
import type { TokenBytes } from '../grammar/token-trie.ts';
import type { EngineEvent } from './request.ts';
import { Scheduler } from './scheduler.ts';
import { warmUp } from './validate-package.ts';
import { NICENESS, type PolicyWorkerOptions, type WorkerMessage, type WorkerRequest } from './worker-protocol.ts';

/** Of KV_MEMORY. The responses to a prompt are scored one soon after the other; chats come back after minutes. */
const PREFIX_CACHE_SHARE = { serve: 1, score: 1 / 8 };

const port = parentPort!;
const options = workerData as PolicyWorkerOptions;
const post = (message: WorkerMessage) => port.postMessage(message);

// ONNX Runtime's threads inherit it.
if (process.platform === 'linux') setPriority(NICENESS);

try {
  const decoder = await openDecoder();
  serve(decoder);
  post({ type: 'ready', kvBytesPerPosition: decoder.kvBytesPerPosition });
} catch (error) {
  post({ type: 'unusable', reason: getErrorMessage(error) });
  port.close();
}

async function openDecoder(): Promise<Decoder> {
  const session = await openGraph();
  const decoder = new Decoder(session, Tensor, options.architecture);
  try {
    await warmUp(decoder);
  } catch (error) {
    await decoder.release();
    throw error;
  }
  return decoder;
}

async function openGraph(): Promise<InferenceSession> {
  const { folder, graph, architecture, threads } = options;
  const path = join(folder, 'onnx', `${graph}.onnx`);
  if (graph === 'serve' || existsSync(path)) return openSession(path, threads);
  // A package that was published before policies were scored: its weights are there, and the graph is made of them.
  // Imported only then: a swap waits for every module.
  const [{ openCheckpoint }, { float32 }, { SERVE_GRAPH, writeServingGraph }] = await Promise.all([
    import('../../shared/model/checkpoint.ts'),
    import('../../shared/onnx/precision/float32.ts'),
    import('../../shared/onnx/write-graphs.ts'),
  ]);
  const temporary = await mkdtemp(join(tmpdir(), 'attune-score-'));
  try {
    const { weights } = await openCheckpoint(folder);
    await writeServingGraph(temporary, architecture, weights, float32);
    return await openSession(join(temporary, SERVE_GRAPH), threads);
  } finally {
    await rm(temporary, { recursive: true });
  }
}

function serve(decoder: Decoder): void {
  const prefixCacheBytes = options.kvMemoryBytes * PREFIX_CACHE_SHARE[options.graph];
  const onPrefilled = (events: EngineEvent[]) => post({ type: 'events', events });
  let tokens: TokenBytes = [];
  const constraints = new Constraints(options.architecture, () => tokens);
  const scheduler = new Scheduler(decoder, { ...options, prefixCacheBytes, constraints }, onPrefilled);
  let isRunning = false;
  let isClosing = false;

  async function run(): Promise<void> {
    if (isRunning) return;
    isRunning = true;
    // Messages that were sent together are all received before the first step.
    await setImmediate();
    // Later messages are received while a step awaits the runtime, which yields to the event loop before each run.
    while (!scheduler.isIdle) {
      post({ type: 'step', ...(await scheduler.step()) });
    }
    isRunning = false;
    if (!isClosing) return;
    await decoder.release();
    port.close();
  }

  port.on('message', (message: WorkerRequest) => {
    if (message.type === 'submit') scheduler.submit(message.request);
    else if (message.type === 'vocabulary') tokens = message.tokens;
    else if (message.type === 'cancel') scheduler.cancel(message.id, message.index);
    else if (message.type === 'close') isClosing = true;
    else throw new Error(`internal: worker: unknown message ${JSON.stringify(message)}`);
    void run();
  });
}
