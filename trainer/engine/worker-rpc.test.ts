import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { WorkerClient } from './worker-rpc.ts';

const start = (source: string) => new WorkerClient(new Worker(source, { eval: true }), 'test engine');
const IMPORT_PORT = `const { parentPort } = require('node:worker_threads');\n`;

test('the exit of a worker during a call rejects that call and all later ones', { timeout: 10_000 }, async () => {
  const client = start(`${IMPORT_PORT}parentPort.on('message', () => process.exit(3));`);
  const calls = [client.call('step'), client.call('score')];
  await assert.rejects(
    calls[0]!,
    /test engine: cannot call step: it exited with code 3; if it ran out of memory, lower TRAIN_MEMORY/,
  );
  await assert.rejects(calls[1]!, /cannot call score/);
  await assert.rejects(client.call('weights'), /cannot call weights/);
  await client.close();
});

test('a call to a crashed worker is rejected with the error of the crash', { timeout: 10_000 }, async () => {
  const client = start(`${IMPORT_PORT}parentPort.on('message', () => { throw new Error('simulated crash'); });`);
  await assert.rejects(client.call('step'), /simulated crash/);
});

test('closing waits for the calls in flight', { timeout: 10_000 }, async () => {
  const client = start(`${IMPORT_PORT}parentPort.on('message', ({ id, method }) => {
    parentPort.postMessage({ id, result: method });
    if (method === 'close') parentPort.close();
  });`);
  const step = client.call('step');
  await client.close();
  assert.equal(await step, 'step');
  await assert.rejects(client.call('step'), /it was closed/);
  await client.close();
});
