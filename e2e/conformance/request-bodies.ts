// Bodies as they come over the wire: broken, too large, too slow, in odd characters.

import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { type Api, KEYS } from './api.ts';
import { assertError } from './errors.ts';

const raw = { prompt: 'Say hi', chosen: 'hi', rejected: 'no' };

export function conformBodies(api: Api): void {
  const send = (body: BodyInit, headers: Record<string, string> = {}, path = '/v1/preferences') =>
    api.request(path, { method: 'POST', body, headers, duplex: 'half' });
  // It takes half a minute, from here on.
  const never = sendForever(api);

  test('what is no JSON, or no object, is refused', async () => {
    for (const body of ['{"prompt": ', '', ' ', 'prompt=x', '{"a":1}{"b":2}', "{'prompt': 1}", '[]', 'null', '3']) {
      const answer = await send(body);
      assertError(answer, 400, body);
      assert.match(answer.body.error.code, /^invalid_(json|value)$/, body);
      const { message: _, ...others } = answer.body.error;
      api.keep(`the body ${JSON.stringify(body)}`, others);
    }
    assert.match((await send('{"prompt": ')).body.error.message, /not valid JSON/);
  });

  test('NUL and half a surrogate pair, which Postgres cannot hold, are refused wherever they are', async () => {
    const bodies: [object, string][] = [
      [{ ...raw, prompt: 'half \ud800 pair' }, 'prompt'],
      [{ ...raw, prompt: 'a \0 character' }, 'prompt'],
      [{ ...raw, rater: '\udfff' }, 'rater'],
      [{ ...raw, metadata: { deep: [{ 'a \0 key': 1 }] } }, 'metadata.deep.0'],
    ];
    for (const [body, param] of bodies) {
      const answer = await send(JSON.stringify(body));
      assertError(answer, 400);
      assert.deepEqual([answer.body.error.code, answer.body.error.param], ['unstorable', param]);
    }
    const escaped = await send(JSON.stringify({ ...raw, prompt: 'written as \\u0000' }));
    assert.equal(escaped.body.prompt, 'written as \\u0000');
  });

  test('what nests without end is refused', async () => {
    for (const levels of [100, 10_000, 400_000]) {
      const answer = await send(`{"metadata":${'['.repeat(levels)}${']'.repeat(levels)}}`);
      assertError(answer, 400, String(levels));
      assert.equal(answer.body.error.param, 'metadata');
    }
  });

  test('bytes that are no UTF-8 become U+FFFD, and a byte order mark is none of the text', async () => {
    const bytes = new Uint8Array(Buffer.from(JSON.stringify({ ...raw, chosen: 'h_' })));
    bytes[bytes.indexOf('_'.charCodeAt(0))] = 0xff;
    const answer = await send(bytes);
    assert.equal(answer.body.chosen?.text, 'h\uFFFD');
    assert.equal((await send(`\uFEFF${JSON.stringify(raw)}`)).status, 200);
  });

  test('JSON is taken under any content type, and none', async () => {
    for (const type of ['application/json; charset=utf-8', 'text/plain', 'application/x-www-form-urlencoded', ''])
      assert.equal((await send(new Blob([JSON.stringify(raw)]), { 'content-type': type })).status, 200, type);
  });

  test('a body over the limit is 413, whether its length was said or not, and one just under it is read', async () => {
    const fill = (length: number) => JSON.stringify({ ...raw, rejected: 'x'.repeat(length) });
    const spare = fill(0).length;
    assert.equal((await send(fill(1_048_576 - spare))).status, 200);
    for (const body of [fill(1_048_577 - spare), pour(fill(2_000_000)), fill(3_000_000)]) {
      const answer = await send(body);
      assertError(answer, 413);
      assert.equal(answer.body.error.code, 'body_too_large');
      api.keep('a body that is too large', answer.body);
    }
  });

  test('a body that comes in pieces is read whole', async () => {
    assert.equal((await send(pour(JSON.stringify({ ...raw, rejected: 'x'.repeat(200_000) })))).status, 200);
  });

  test('a body that breaks off harms nobody else', async () => {
    const socket = openBody(api);
    await new Promise((resolve) => setTimeout(resolve, 100));
    socket.destroy();
    assert.equal((await send(JSON.stringify(raw))).status, 200);
  });

  test('ids of odd characters are none that there are, and no fault of ours', async () => {
    const paths = ['%00', '%F0%9F%91%8B', 'a%2Fb', "'; drop table preferences; --", '%25', 'x'.repeat(2000), '..%2f..'];
    for (const path of paths) {
      const answer = await api.request(`/v1/preferences/${path}`);
      assertError(answer, 404, path);
      api.keep(`the id ${path.slice(0, 40)}`, answer.body);
    }
    for (const query of ['after=%00', 'after=', 'limit=0', 'limit=101', 'limit=ten', 'order=up', 'page=2']) {
      const answer = await api.request(`/v1/preferences?${query}`);
      assertError(answer, 400, query);
      api.keep(`the query ${query}`, answer.body);
    }
  });

  test('a body that never ends is given up with 408, which may be tried again', async () => {
    const answer = await never;
    assert.match(answer, /^HTTP\/1\.1 408 /);
    assert.match(answer, /"code":"request_timeout"/);
    assert.match(answer, /x-should-retry: true/i);
  });
}

/** A request whose body has begun, and has more to come. */
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

/** Sends a letter now and then until it is answered. */
async function sendForever(api: Api): Promise<string> {
  const socket = openBody(api);
  const dripping = setInterval(() => socket.write('a'), 500);
  let answer = '';
  try {
    for await (const part of socket) {
      answer += part;
      if (answer.includes('}}')) break;
    }
  } catch (error) {
    answer += error;
  } finally {
    clearInterval(dripping);
  }
  return answer;
}

/** A text in pieces, whose length nobody says. */
function pour(text: string): ReadableStream<Uint8Array> {
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
