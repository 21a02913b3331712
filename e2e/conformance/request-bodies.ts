// Request bodies that are malformed, too large, too slow, or contain unusual characters.

import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { type Api, KEYS } from './api.ts';
import { assertError } from './errors.ts';

export function testRequestBodies(api: Api): void {
  const raw = { prompt: `Say hi, ${api.runtime}`, chosen: 'hi', rejected: 'no' };
  const send = (body: BodyInit, headers: Record<string, string> = {}, path = '/v1/preferences') =>
    api.request(path, { method: 'POST', body, headers, duplex: 'half' });
  /** A server that responds before it has read a body resets the connection, which can overtake the response. */
  const sendUntilAnswered = async (makeBody: () => BodyInit) => {
    for (let attempt = 1; ; attempt++)
      try {
        return await send(makeBody());
      } catch (error) {
        if (attempt === 5 || (error as { cause?: { code?: string } }).cause?.code !== 'ECONNRESET') throw error;
      }
  };
  // Takes half a minute, so it starts before the other tests.
  const timedOut = sendForever(api);

  test('rejects bodies that are not a JSON object', async () => {
    for (const body of ['{"prompt": ', '', ' ', 'prompt=x', '{"a":1}{"b":2}', "{'prompt': 1}", '[]', 'null', '3']) {
      const response = await send(body);
      assertError(response, 400, body);
      assert.match(response.body.error.code, /^invalid_(json|value)$/, body);
      const { message: _, ...others } = response.body.error;
      api.record(`the body ${JSON.stringify(body)}`, others);
    }
    assert.match((await send('{"prompt": ')).body.error.message, /not valid JSON/);
  });

  test('rejects NUL and lone surrogates, which Postgres cannot store, at any depth', async () => {
    const bodies: [object, string][] = [
      [{ ...raw, prompt: 'half \ud800 pair' }, 'prompt'],
      [{ ...raw, prompt: 'a \0 character' }, 'prompt'],
      [{ ...raw, rater: '\udfff' }, 'rater'],
      [{ ...raw, metadata: { deep: [{ 'a \0 key': 1 }] } }, 'metadata.deep.0'],
    ];
    for (const [body, param] of bodies) {
      const response = await send(JSON.stringify(body));
      assertError(response, 400);
      assert.deepEqual([response.body.error.code, response.body.error.param], ['unstorable', param]);
    }
    const escaped = await send(JSON.stringify({ ...raw, rater: api.runtime, prompt: 'written as \\u0000' }));
    assert.equal(escaped.body.prompt, 'written as \\u0000');
  });

  test('rejects deep nesting', async () => {
    for (const levels of [100, 10_000, 400_000]) {
      const response = await send(`{"metadata":${'['.repeat(levels)}${']'.repeat(levels)}}`);
      assertError(response, 400, String(levels));
      assert.equal(response.body.error.param, 'metadata');
    }
  });

  test('invalid UTF-8 becomes U+FFFD, and a byte order mark is ignored', async () => {
    const bytes = new Uint8Array(Buffer.from(JSON.stringify({ ...raw, chosen: 'h_' })));
    bytes[bytes.indexOf('_'.charCodeAt(0))] = 0xff;
    const response = await send(bytes);
    assert.equal(response.body.chosen?.text, 'h\uFFFD');
    assert.equal((await send(`\uFEFF${JSON.stringify({ ...raw, rater: 'with a mark' })}`)).status, 200);
  });

  test('accepts JSON with any content type, and without one', async () => {
    for (const type of ['application/json; charset=utf-8', 'text/plain', 'application/x-www-form-urlencoded', ''])
      assert.equal(
        (await send(new Blob([JSON.stringify({ ...raw, rater: `of ${type}` })]), { 'content-type': type })).status,
        200,
        type,
      );
  });

  test('a body over the limit is 413 with and without content-length, and one at the limit is accepted', async () => {
    const fill = (length: number) => JSON.stringify({ ...raw, rejected: 'x'.repeat(length) });
    const spare = fill(0).length;
    assert.equal((await send(fill(1_048_576 - spare))).status, 200);
    const makers = [() => fill(1_048_577 - spare), () => toChunkedStream(fill(2_000_000)), () => fill(3_000_000)];
    for (const makeBody of makers) {
      const response = await sendUntilAnswered(makeBody);
      assertError(response, 413);
      assert.equal(response.body.error.code, 'body_too_large');
      api.record('a body that is too large', response.body);
    }
  });

  test('accepts a chunked body', async () => {
    assert.equal((await send(toChunkedStream(JSON.stringify({ ...raw, rejected: 'x'.repeat(200_000) })))).status, 200);
  });

  test('an aborted body does not affect other requests', async () => {
    const socket = openBody(api);
    await new Promise((resolve) => setTimeout(resolve, 100));
    socket.destroy();
    assert.equal((await send(JSON.stringify({ ...raw, rater: 'other' }))).status, 200);
  });

  test('ids with unusual characters are a 404, and invalid queries a 400', async () => {
    const paths = ['%00', '%F0%9F%91%8B', 'a%2Fb', "'; drop table preferences; --", '%25', 'x'.repeat(2000), '..%2f..'];
    for (const path of paths) {
      const response = await api.request(`/v1/preferences/${path}`);
      assertError(response, 404, path);
      api.record(`the id ${path.slice(0, 40)}`, response.body);
    }
    for (const query of ['after=%00', 'after=', 'limit=0', 'limit=101', 'limit=ten', 'order=up', 'page=2']) {
      const response = await api.request(`/v1/preferences?${query}`);
      assertError(response, 400, query);
      api.record(`the query ${query}`, response.body);
    }
  });

  test('a body that never ends gets a retryable 408', async () => {
    const response = await timedOut;
    assert.match(response, /^HTTP\/1\.1 408 /);
    assert.match(response, /"code":"request_timeout"/);
    assert.match(response, /x-should-retry: true/i);
  });
}

/** A request with an incomplete body. */
function openBody(api: Api): Socket {
  const { hostname, port } = new URL(api.url);
  const socket = connect({ host: hostname, port: Number(port) });
  socket.on('error', () => {});
  const lines = [
    'POST /v1/preferences HTTP/1.1',
    'host: attune',
    `authorization: Bearer ${KEYS[0]}`,
    'content-type: application/json',
    'content-length: 1000',
    '',
    '{"prompt": "',
  ];
  socket.write(lines.join('\r\n'));
  return socket;
}

/** Sends body bytes slowly until there is a response. */
async function sendForever(api: Api): Promise<string> {
  const socket = openBody(api);
  const timer = setInterval(() => socket.write('a'), 500);
  let response = '';
  try {
    for await (const part of socket) {
      response += part;
      if (response.includes('}}')) break;
    }
  } catch (error) {
    response += error;
  } finally {
    clearInterval(timer);
  }
  return response;
}

/** A text in chunks, without a content-length. */
function toChunkedStream(text: string): ReadableStream<Uint8Array> {
  const bytes = new TextEncoder().encode(text);
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      controller.enqueue(bytes.subarray(at, at + 10_000));
      at += 10_000;
      if (at >= bytes.length) controller.close();
    },
  });
}
