import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AttuneError } from '../../shared/error.ts';
import { streamEvents } from './sse.ts';

test('events arrive complete and in order, and the stream ends with its producer', async () => {
  const response = streamEvents(new AbortController(), async (send) => {
    send({ at: 1 });
    await new Promise((resolve) => setTimeout(resolve, 5));
    send({ at: 2 }, { event: 'done', id: '7' });
    send('[DONE]');
  });
  assert.equal(await response.text(), 'data: {"at":1}\n\nevent: done\nid: 7\ndata: {"at":2}\n\ndata: [DONE]\n\n');
});

test('a thrown error becomes the last event, in the shape of an error', async () => {
  const response = streamEvents(new AbortController(), async (send) => {
    send('first');
    throw new AttuneError('too late', { status: 504, code: 'deadline_exceeded' });
  });
  const events = (await response.text()).trimEnd().split('\n\n');
  assert.equal(events.length, 2);
  assert.deepEqual(JSON.parse(events[1]!.slice('data: '.length)), {
    error: { message: 'too late', type: 'server_error', param: null, code: 'deadline_exceeded' },
  });
});

test('a reader that cancels aborts the producer; cancel resolves when the producer has ended', async () => {
  const abort = new AbortController();
  let isStored = false;
  const response = streamEvents(abort, async (send) => {
    send('first');
    await new Promise((resolve) => abort.signal.addEventListener('abort', resolve));
    await new Promise((resolve) => setTimeout(resolve, 5));
    isStored = true;
  });
  const reader = response.body!.getReader();
  await reader.read();
  await reader.cancel();
  assert.equal(abort.signal.aborted, true);
  assert.equal(isStored, true);
});

test('a reader that falls a megabyte behind is disconnected and the producer aborted; one that keeps up is not', async () => {
  const produce = (pause: () => Promise<void>) => async (send: (data: unknown) => void) => {
    for (let at = 0; at < 40; at++) {
      send('x'.repeat(100_000));
      await pause();
    }
  };
  const slow = new AbortController();
  const slowResponse = streamEvents(
    slow,
    produce(async () => {}),
  );
  await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(slow.signal.aborted, true);
  await assert.rejects(slowResponse.text(), /too slow/);

  const fast = new AbortController();
  const fastResponse = streamEvents(
    fast,
    produce(() => new Promise((resolve) => setImmediate(resolve))),
  );
  assert.ok((await fastResponse.text()).length > 4_000_000);
  assert.equal(fast.signal.aborted, false);
});
