import assert from 'node:assert/strict';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { openClient, readEvents, type ServerEvent } from './client.ts';

async function serve(context: TestContext, listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  context.after(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function* stream(texts: string[]): AsyncGenerator<string> {
  yield* texts;
}

async function collect(texts: string[]): Promise<ServerEvent[]> {
  const events: ServerEvent[] = [];
  for await (const event of readEvents(stream(texts))) events.push(event);
  return events;
}

test('events are the same wherever the stream is cut, and an unfinished one is left out', async () => {
  const sent = 'id: 7\ndata: {"a": 1}\n\n: a comment\n\nevent: done\ndata: {"b":\ndata: 2}\n\nid: 8\ndata: {"c"';
  const expected = [
    { id: '7', event: 'message', data: { a: 1 } },
    { id: null, event: 'done', data: { b: 2 } },
  ];
  assert.deepEqual(await collect([sent]), expected);
  assert.deepEqual(await collect([...sent]), expected);
});

test('a server that is not there is named, with what to do', async () => {
  await assert.rejects(openClient('http://127.0.0.1:9/').get('/health'), {
    name: 'AttuneError',
    message: /nothing answers at http:\/\/127\.0\.0\.1:9 .*attune start/,
  });
});

test('a request is sent again where the server says that it can succeed later', async (context) => {
  let asked = 0;
  const url = await serve(context, (_, response) => {
    if (++asked < 3) response.writeHead(429, { 'x-should-retry': 'true', 'retry-after-ms': '1' }).end('{}');
    else response.end('{"fine": true}');
  });
  assert.deepEqual(await openClient(url).get('/x'), { fine: true });
  assert.equal(asked, 3);
});

test('a refusal is told in the words of the server, once, and with its key sent along', async (context) => {
  const keys: (string | undefined)[] = [];
  const url = await serve(context, (request, response) => {
    keys.push(request.headers.authorization);
    response.writeHead(401, { 'x-should-retry': 'false' }).end('{"error": {"message": "the key is unknown"}}');
  });
  await assert.rejects(openClient(url, 'sk-test').post('/v1/rounds', {}), {
    status: 401,
    message: 'demo: /v1/rounds was answered 401: the key is unknown; set API_KEY to a key of that Attune',
  });
  assert.deepEqual(keys, ['Bearer sk-test']);
});
