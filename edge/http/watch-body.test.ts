import assert from 'node:assert/strict';
import { test } from 'node:test';
import { watchBody } from './watch-body.ts';

type Source = UnderlyingDefaultSource<Uint8Array>;

function open(source: Source) {
  const ends: unknown[] = [];
  const response = new Response(new ReadableStream(source, { highWaterMark: 0 }), { status: 201, headers: { a: 'b' } });
  return { ends, response: watchBody(response, (error) => ends.push(error)) };
}

test('a body that is read ends once, after its last byte, with the status and headers of its response', async () => {
  let left = 3;
  const { ends, response } = open({
    pull(controller) {
      assert.deepEqual(ends, []);
      if (left-- > 0) controller.enqueue(new Uint8Array([left]));
      else controller.close();
    },
  });
  assert.deepEqual([...new Uint8Array(await response.arrayBuffer())], [2, 1, 0]);
  assert.deepEqual([response.status, response.headers.get('a'), ends], [201, 'b', [undefined]]);
});

test('a body that is cancelled during a read ends once, after its source has ended', async () => {
  let close = () => {};
  let finish = () => {};
  const { ends, response } = open({
    pull: (controller) =>
      new Promise((resolve) => {
        close = () => {
          controller.close();
          resolve();
        };
      }),
    cancel: () =>
      new Promise((resolve) => {
        finish = resolve;
      }),
  });
  const reader = response.body!.getReader();
  const read = reader.read();
  await new Promise((resolve) => setTimeout(resolve, 10));
  const cancelled = reader.cancel();
  await new Promise((resolve) => setTimeout(resolve, 10));
  assert.deepEqual(ends, []);
  finish();
  await cancelled;
  assert.throws(close, 'the source is cancelled');
  assert.equal((await read).done, true);
  assert.deepEqual(ends, [undefined]);
});

test('a body that fails ends with its error, which its reader does not see', async () => {
  const failure = new Error('select secret');
  const { ends, response } = open({ pull: () => Promise.reject(failure) });
  await assert.rejects(response.text(), /broke off/);
  assert.deepEqual(ends, [failure]);
});

test('a response without a body ends at once', () => {
  let ends = 0;
  watchBody(new Response(null), () => ends++);
  assert.equal(ends, 1);
});
