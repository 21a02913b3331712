// Slow, silent and many clients: none of them occupies a batch slot or delays others.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as openSocket, type Socket } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { eq } from 'drizzle-orm';
import { selectGenerations } from '../shared/database/generations.ts';
import { completions } from '../shared/database/schema.ts';
import { type Json, makeLongRequests, startEdgeServer, withEdge } from '../testing/edge-server.ts';
import { waitUntil } from '../testing/wait-until.ts';

const server = await startEdgeServer();
const { db } = server.connection;
const { brief, endless } = await makeLongRequests(server);
const messages = [{ role: 'user', content: 'Once upon a time' }];

/** A connection without flow control by fetch: data is read only when the test reads. */
async function openRaw(url: string, lines: string[]): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const socket = openSocket({ host: hostname, port: Number(port) });
  await new Promise((resolve) => socket.once('connect', resolve));
  socket.on('error', () => {});
  socket.write(lines.join('\r\n'));
  return socket;
}

function openStream(url: string, path: string, json: object): Promise<Socket> {
  const body = JSON.stringify({ ...json, stream: true });
  return openRaw(url, [
    `POST ${path} HTTP/1.1`,
    'host: localhost',
    'content-type: application/json',
    `content-length: ${body.length}`,
    '',
    body,
  ]);
}

/** Sends header bytes slowly during all tests; resolves with the response when the server closes the connection. */
const slowHeaders = sendSlowly(await openRaw(server.edge.url, ['GET /status HTTP/1.1', 'host: localhost', 'x-slow: ']));

async function sendSlowly(socket: Socket): Promise<string> {
  const timer = setInterval(() => socket.write('a'), 500);
  let response = '';
  socket.on('data', (chunk) => {
    response += chunk;
  });
  await new Promise((resolve) => socket.once('close', resolve));
  clearInterval(timer);
  return response;
}

test('a slow reader does not occupy a batch slot: its generation is finished and stored while it reads', async () => {
  await withEdge(server, { MAX_ROWS: '1' }, async (send, url) => {
    const socket = await openStream(url, '/v1/completions', { ...endless, max_tokens: 300, user: 'slow' });
    socket.pause();
    const row = await waitUntil(async () => (await selectGenerations(db).where(eq(completions.user, 'slow')))[0]);
    assert.equal(row.finish_reason, 'length');
    socket.read(1);
    assert.equal((await send('/v1/completions', brief)).status, 200);
    socket.destroy();
  });
});

test('a reader that falls a megabyte behind is disconnected and its batch slots are freed', async () => {
  await withEdge(server, { MAX_ROWS: '4' }, async (send, url) => {
    const loud = { ...endless, prompt: undefined, messages, n: 4, logprobs: true, top_logprobs: 20, user: 'far' };
    const socket = await openStream(url, '/v1/chat/completions', loud);
    socket.pause();
    let received = 0;
    let closed = false;
    socket.on('data', (chunk) => {
      received += chunk.length;
    });
    socket.on('close', () => {
      closed = true;
    });
    socket.pause();
    const short = send('/v1/completions', brief);
    const rows = await waitUntil(async () => {
      const found = await selectGenerations(db).where(eq(completions.user, 'far'));
      return found.length > 0 && found;
    });
    assert.ok(rows.every((row) => row.finish_reason === 'cancelled' && row.token_ids.length < 4000));
    assert.equal((await short).status, 200);
    // The socket buffer can still be read, then the connection closes without the end of the stream.
    socket.resume();
    await waitUntil(async () => closed);
    assert.ok(received > 0);
  });
});

/** A thousand concurrent clients in a separate thread, so that this thread measures the server only. */
const CLIENTS = `
  const { parentPort, workerData: { url, json } } = require('node:worker_threads');
  const send = async () => {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(json),
    });
    return { status: response.status, headers: [...response.headers], body: await response.json() };
  };
  Promise.all(Array.from({ length: 1000 }, send)).then((responses) => parentPort.postMessage(responses));
`;

test('a thousand concurrent requests all get 200 or 429 with retry-after', async () => {
  const { url } = server.edge;
  const json = { prompt: 'Once', max_tokens: 2, store: false };
  const clients = new Worker(CLIENTS, { eval: true, workerData: { url: `${url}/v1/completions`, json } });
  const responded = once(clients, 'message').then(([responses]) => responses as Json[]);
  let isOver = false;
  void responded.finally(() => {
    isOver = true;
  });
  const statuses: number[] = [];
  while (!isOver) {
    statuses.push((await fetch(`${url}/status`)).status);
    await sleep(20);
  }
  const responses = await responded;
  const rejected = responses.filter(({ status }) => status === 429);
  assert.equal(responses.filter(({ status }) => status === 200).length + rejected.length, 1000);
  assert.ok(rejected.length < 1000);
  for (const { headers, body } of rejected) {
    assert.equal(body.error.code, 'queue_full');
    assert.ok(Number(new Headers(headers).get('retry-after')) > 0);
    assert.equal(new Headers(headers).get('x-should-retry'), 'true');
  }
  assert.ok(statuses.length > 5 && statuses.every((status) => status === 200));
  const after = await Promise.all(Array.from({ length: 16 }, () => server.request('/v1/completions', { json })));
  assert.ok(after.every(({ status }) => status === 200));
});

test('an idle connection does not delay shutdown', async () => {
  let socket: Socket | undefined;
  const started = performance.now();
  await withEdge(server, {}, async (_, url) => {
    socket = await openRaw(url, []);
  });
  // Streams in progress would get ten seconds.
  assert.ok(performance.now() - started < 9000);
  socket?.destroy();
});

test('a client that never completes its headers gets 408', async () => {
  assert.match(await slowHeaders, /^HTTP\/1\.1 408 /);
});
