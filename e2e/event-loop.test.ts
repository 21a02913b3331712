// Decoding runs off the main thread: the event loop delay stays low with sixteen concurrent streams.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { readStream } from '../testing/completion-stream.ts';
import { openEdgeProcesses } from '../testing/edge-processes.ts';

const STREAMS = 16;
const SECONDS = 3;
/** On a busy machine the best of several attempts measures the server itself. */
const ATTEMPTS = 5;
/** An idle thread's delay from which a server's says nothing against it: other processes have the processors. */
const BUSY_MS = 3;

const processes = await openEdgeProcesses();
// `serve` creates the default policy, stories15M.
const server = await processes.start();

/** An idle thread whose event loop delay is the machine's; reports its p99 since the previous message. */
const idle = new Worker(
  `const loop = require('node:perf_hooks').monitorEventLoopDelay({ resolution: 5 });
   loop.enable();
   const { parentPort } = require('node:worker_threads');
   parentPort.on('message', () => { parentPort.postMessage(loop.percentile(99) / 1e6 - 5); loop.reset(); });`,
  { eval: true },
);
after(() => idle.terminate());

async function measureIdleDelay(): Promise<number> {
  idle.postMessage('report');
  const [milliseconds] = await once(idle, 'message');
  return Math.max(0, milliseconds);
}

/** p99 event loop delay in milliseconds of the server and of an idle thread, while streaming for some seconds. */
async function measure(seconds: number) {
  let tokens = 0;
  const end = performance.now() + seconds * 1000;
  const stream = async (seed: number) => {
    while (performance.now() < end) {
      // Without end-of-text tokens, so that each stream has max_tokens.
      const body = { prompt: 'Once upon a time', max_tokens: 200, seed: seed++, logit_bias: { 1: -100, 2: -100 } };
      const { isComplete, error } = await readStream(server.url, body, () => tokens++);
      assert.ok(isComplete, error ?? 'an incomplete stream');
    }
  };
  await Promise.all([server.metrics(), measureIdleDelay()]);
  await Promise.all(Array.from({ length: STREAMS }, (_, i) => stream(1000 * i)));
  const [metrics, machine] = await Promise.all([server.metrics(), measureIdleDelay()]);
  return { server: 1000 * metrics.get('attune_event_loop_delay_p99_seconds')!, machine, tokens };
}

test('the p99 event loop delay is under 5 ms with 16 streams', async (context) => {
  await measure(1);
  const delays: number[] = [];
  let isIdle = false;
  do {
    const { server, machine, tokens } = await measure(SECONDS);
    context.diagnostic(`p99 ${server.toFixed(2)} ms, idle thread ${machine.toFixed(2)} ms; ${tokens} tokens`);
    delays.push(server - machine);
    isIdle ||= machine < BUSY_MS;
  } while (Math.min(...delays) >= 5 && delays.length < ATTEMPTS);
  if (Math.min(...delays) >= 5 && !isIdle)
    return context.skip('other processes have the processors; run `node --test e2e/event-loop.test.ts` alone');
  assert.ok(Math.min(...delays) < 5, `delays above the idle thread's: ${delays.map((ms) => ms.toFixed(2))} ms`);
});
