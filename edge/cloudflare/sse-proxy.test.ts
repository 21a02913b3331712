import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AttuneError } from '../../shared/error.ts';
import { openDeadline } from '../http/deadline.ts';
import { proxyEvents } from './sse-proxy.ts';

const END = 'data: [DONE]\n\n';

function proxy(chunks: (string | Uint8Array)[], fault?: Error) {
  const left = chunks.map((chunk) => (typeof chunk === 'string' ? new TextEncoder().encode(chunk) : chunk));
  const deadline = openDeadline(60, new AbortController().signal);
  const seen = { cancelled: false };
  const source = new ReadableStream<Uint8Array>({
    pull(controller) {
      const next = left.shift();
      if (next) controller.enqueue(next);
      else if (fault) controller.error(fault);
      else controller.close();
    },
    cancel() {
      seen.cancelled = true;
    },
  });
  const toError = () => new AttuneError('it broke', { status: 502, code: 'upstream_interrupted' });
  return { seen, deadline, body: proxyEvents(source, deadline, toError) };
}

const read = async (body: ReadableStream<Uint8Array>) => {
  const chunks: string[] = [];
  for await (const chunk of body) chunks.push(new TextDecoder().decode(chunk));
  return chunks;
};

test('passes events on whole, wherever their bytes are split', async () => {
  assert.deepEqual(await read(proxy(['data: 1\n\n', 'data: 2\n\n', END]).body), ['data: 1\n\n', 'data: 2\n\n', END]);
  assert.deepEqual(await read(proxy(['da', 'ta: 1\n', '\ndata: 2\n\nda', 'ta: [DONE]\n\n']).body), [
    'data: 1\n\ndata: 2\n\n',
    END,
  ]);
  const bytes = new TextEncoder().encode(`data: ä€😀\n\n${END}`);
  assert.equal(
    (await read(proxy([...bytes].map((byte) => Uint8Array.of(byte))).body)).join(''),
    `data: ä€😀\n\n${END}`,
  );
});

test('a stream that ends early gets an error event in OpenAI’s shape, whether it closed or failed', async () => {
  const last =
    'data: {"error":{"message":"it broke","type":"server_error","param":null,"code":"upstream_interrupted"}}\n\n';
  for (const fault of [undefined, new Error('lost')]) {
    assert.deepEqual(await read(proxy(['data: 1\n\ndata: {"choi'], fault).body), ['data: 1\n\n', last]);
    assert.deepEqual(await read(proxy([], fault).body), [last]);
  }
});

test('an error event of the upstream is the last event', async () => {
  const own = 'data: {"error":{"message":"its own"}}\n\n';
  assert.deepEqual(await read(proxy(['data: 1\n\n', own]).body), ['data: 1\n\n', own]);
});

test('a connection lost after [DONE] is not an error', async () => {
  assert.deepEqual(await read(proxy(['data: 1\n\n', END], new Error('lost')).body), ['data: 1\n\n', END]);
});

test('a client that disconnects cancels the source and the deadline', async () => {
  const { body, seen, deadline } = proxy(['data: 1\n\n', 'data: 2\n\n']);
  const reader = body.getReader();
  await reader.read();
  await reader.cancel();
  assert.equal(seen.cancelled, true);
  assert.equal(deadline.signal.aborted, true);
});
