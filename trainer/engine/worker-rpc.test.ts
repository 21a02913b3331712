import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { Remote } from './worker-rpc.ts';

const start = (source: string) => new Remote(new Worker(source, { eval: true }), 'test engine');
const LISTEN = `const { parentPort } = require('node:worker_threads');\n`;

test('a worker that ends in the middle of a call rejects it and all later ones', { timeout: 10_000 }, async () => {
  const remote = start(`${LISTEN}parentPort.on('message', () => process.exit(3));`);
  const calls = [remote.call('step'), remote.call('score')];
  await assert.rejects(calls[0]!, /test engine: its thread cannot step any more: it ended with code 3/);
  await assert.rejects(calls[1]!, /cannot score any more/);
  await assert.rejects(remote.call('weights'), /cannot weights any more/);
  await remote.close();
});

test('a worker that throws is named with its reason', { timeout: 10_000 }, async () => {
  const remote = start(`${LISTEN}parentPort.on('message', () => { throw new Error('out of luck'); });`);
  await assert.rejects(remote.call('step'), /out of luck/);
});

test('closing waits for what was asked before', { timeout: 10_000 }, async () => {
  const remote = start(`${LISTEN}parentPort.on('message', ({ id, method }) => {
    parentPort.postMessage({ id, result: method });
    if (method === 'close') parentPort.close();
  });`);
  const step = remote.call('step');
  await remote.close();
  assert.equal(await step, 'step');
  await assert.rejects(remote.call('step'), /it was closed/);
  await remote.close();
});
