import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readBodyStream } from './body-stream.ts';

const PACE = { bytes: 100, seconds: 0.5 };
const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** `waitsMs`: before each chunk of 10 bytes; the stream stays open if `isOpen`. */
function openStream(waitsMs: number[], { isOpen = false } = {}) {
  const state = { isCancelled: false };
  const waits = [...waitsMs];
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const waitMs = waits.shift();
      if (waitMs === undefined) return isOpen ? new Promise<void>(() => {}) : controller.close();
      await sleep(waitMs);
      controller.enqueue(new Uint8Array(10));
    },
    cancel() {
      state.isCancelled = true;
    },
  });
  return { body, state };
}

test('a body that stalls, or drips, is a 408, and is cancelled', async () => {
  for (const { body, state } of [openStream([0], { isOpen: true }), openStream(Array(100).fill(60))]) {
    await assert.rejects(Array.fromAsync(readBodyStream(body, PACE)), { status: 408, code: 'request_timeout' });
    assert.ok(state.isCancelled);
  }
});

test('the time in which nobody reads does not count', async () => {
  const { body } = openStream([0, 0, 0]);
  let length = 0;
  for await (const bytes of readBodyStream(body, PACE)) {
    length += bytes.length;
    await sleep(300);
  }
  assert.equal(length, 30);
});

test('an empty body, and one that breaks off, are a 400', async () => {
  for (const body of [null, openStream([]).body])
    await assert.rejects(Array.fromAsync(readBodyStream(body)), { status: 400, code: 'empty_body' });
  const broken = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.error(new TypeError('terminated')),
  });
  await assert.rejects(Array.fromAsync(readBodyStream(broken)), { status: 400, code: 'incomplete_body' });
});
