import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openDeadline } from './deadline.ts';

const fired = (signal: AbortSignal) => new Promise((resolve) => signal.addEventListener('abort', resolve));

test('aborts when the time limit passes, and reports it', async () => {
  const { signal, hasPassed } = openDeadline(0.01, new AbortController().signal);
  assert.equal(hasPassed(), false);
  await fired(signal);
  assert.equal(hasPassed(), true);
});

test('aborts when the client disconnects, or if it already has', () => {
  const client = new AbortController();
  const before = openDeadline(60, client.signal);
  client.abort();
  const after = openDeadline(60, client.signal);
  for (const { signal, hasPassed } of [before, after]) {
    assert.equal(signal.aborted, true);
    assert.equal(hasPassed(), false);
  }
});

test('close aborts at once and stops the timer', async () => {
  const { signal, hasPassed, close } = openDeadline(0.01, new AbortController().signal);
  close();
  assert.equal(signal.aborted, true);
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.equal(hasPassed(), false);
});
