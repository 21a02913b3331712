import assert from 'node:assert/strict';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { openClient, parseEvents, type ServerEvent } from './client.ts';

async function serve(context: TestContext, listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  context.after(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function stream(texts: string[]): ReadableStream<string> {
  return new ReadableStream({
    start(controller) {
      for (const text of texts) controller.enqueue(text);
      controller.close();
    },
  });
}

async function collect(texts: string[]): Promise<ServerEvent[]> {
  const events: ServerEvent[] = [];
  for await (const event of parseEvents(stream(texts))) events.push(event);
  return events;
}

test('parses events however the stream is chunked and drops an incomplete last event', async () => {
  const sent = 'id: 7\ndata: {"a": 1}\n\n: a comment\n\nevent: done\ndata: {"b":\ndata: 2}\n\nid: 8\ndata: {"c"';
  const expected = [
    { id: '7', event: 'message', data: { a: 1 } },
    { id: null, event: 'done', data: { b: 2 } },
  ];
  assert.deepEqual(await collect([sent]), expected);
  assert.deepEqual(await collect([...sent]), expected);
});

test('an unreachable server is named in the error, with the remedy', async () => {
  await assert.rejects(openClient('http://127.0.0.1:9/').get('/health'), {
    name: 'AttuneError',
    message: /cannot connect to http:\/\/127\.0\.0\.1:9 .*attune start/,
  });
});

test('retries a request when the response has x-should-retry: true', async (context) => {
  let requests = 0;
  const url = await serve(context, (_, response) => {
    if (++requests < 3) response.writeHead(429, { 'x-should-retry': 'true', 'retry-after-ms': '1' }).end('{}');
    else response.end('{"fine": true}');
  });
  assert.deepEqual(await openClient(url).get('/x'), { fine: true });
  assert.equal(requests, 3);
});

test('throws an API error with the message of the server, without a retry, and sends the key', async (context) => {
  const keys: (string | undefined)[] = [];
  const url = await serve(context, (request, response) => {
    keys.push(request.headers.authorization);
    response.writeHead(401, { 'x-should-retry': 'false' }).end('{"error": {"message": "the key is unknown"}}');
  });
  await assert.rejects(openClient(url, 'sk-test').post('/v1/rounds', {}), {
    status: 401,
    message: 'demo: /v1/rounds responded with 401: the key is unknown; set API_KEY to a key of that server',
  });
  assert.deepEqual(keys, ['Bearer sk-test']);
});
