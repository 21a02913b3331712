// Clients that are slow, silent or too many: none holds a row of the engine or keeps others waiting.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as openSocket, type Socket } from 'node:net';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { eq } from 'drizzle-orm';
import { generations } from '../shared/database/schema.ts';
import { type Json, setStage } from '../testing/edge-server.ts';
import { bePatient, sleep, until, withEdge } from '../testing/extra-edge.ts';

const stage = await setStage();
const { db } = stage.connection;
const { brief, endless } = await bePatient(stage);
const messages = [{ role: 'user', content: 'Once upon a time' }];

/** A connection on which nothing is read that is not asked for. */
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
    'host: attune',
    'content-type: application/json',
    `content-length: ${body.length}`,
    '',
    body,
  ]);
}

/** Sends a letter now and then, from the beginning of the tests to their end; resolves when it is hung up on. */
const dripping = drip(await openRaw(stage.edge.url, ['GET /status HTTP/1.1', 'host: attune', 'x-slow: ']));

async function drip(socket: Socket): Promise<string> {
  const dripping = setInterval(() => socket.write('a'), 500);
  let answer = '';
  socket.on('data', (chunk) => {
    answer += chunk;
  });
  await new Promise((resolve) => socket.once('close', resolve));
  clearInterval(dripping);
  return answer;
}

test('a reader of one byte a second holds no row: its answer is made and stored while it still reads', async () => {
  await withEdge(stage, { MAX_ROWS: '1' }, async (send, url) => {
    const socket = await openStream(url, '/v1/completions', { ...endless, max_tokens: 300, user: 'slow' });
    socket.pause();
    const row = await until(async () => (await db.select().from(generations).where(eq(generations.user, 'slow')))[0]);
    assert.equal(row.finish_reason, 'length');
    socket.read(1);
    assert.equal((await send('/v1/completions', brief)).status, 200);
    socket.destroy();
  });
});

test('a reader that falls a megabyte behind is hung up on, and its rows are free for others', async () => {
  await withEdge(stage, { MAX_ROWS: '4' }, async (send, url) => {
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
    const rows = await until(async () => {
      const found = await db.select().from(generations).where(eq(generations.user, 'far'));
      return found.length > 0 && found;
    });
    assert.ok(rows.every((row) => row.finish_reason === 'cancelled' && row.token_ids.length < 4000));
    assert.equal((await short).status, 200);
    // What the system held for the connection can still be read, and then it ends, unfinished.
    socket.resume();
    await until(async () => closed);
    assert.ok(received > 0);
  });
});

/** A thousand clients at once, in a thread of their own so that only the server's delays are seen here. */
const CROWD = `
  const { parentPort, workerData: { url, json } } = require('node:worker_threads');
  const ask = async () => {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(json),
    });
    return { status: response.status, headers: [...response.headers], body: await response.json() };
  };
  Promise.all(Array.from({ length: 1000 }, ask)).then((answers) => parentPort.postMessage(answers));
`;

test('a thousand requests at once are all answered, with 200 or a 429 that says when to come back', async () => {
  const { url } = stage.edge;
  const json = { prompt: 'Once', max_tokens: 2, store: false };
  const crowd = new Worker(CROWD, { eval: true, workerData: { url: `${url}/v1/completions`, json } });
  const came = once(crowd, 'message').then(([answers]) => answers as Json[]);
  let isOver = false;
  void came.finally(() => {
    isOver = true;
  });
  const looks: number[] = [];
  while (!isOver) {
    looks.push((await fetch(`${url}/status`)).status);
    await sleep(20);
  }
  const answers = await came;
  const refused = answers.filter(({ status }) => status === 429);
  assert.equal(answers.filter(({ status }) => status === 200).length + refused.length, 1000);
  assert.ok(refused.length < 1000);
  for (const { headers, body } of refused) {
    assert.equal(body.error.code, 'queue_full');
    assert.ok(Number(new Headers(headers).get('retry-after')) > 0);
    assert.equal(new Headers(headers).get('x-should-retry'), 'true');
  }
  assert.ok(looks.length > 5 && looks.every((status) => status === 200));
  const after = await Promise.all(Array.from({ length: 16 }, () => stage.request('/v1/completions', { json })));
  assert.ok(after.every(({ status }) => status === 200));
});

test('a connection on which nothing was asked does not hold up the end', async () => {
  let socket: Socket | undefined;
  const began = performance.now();
  await withEdge(stage, {}, async (_, url) => {
    socket = await openRaw(url, []);
  });
  // A stream in progress would get ten seconds.
  assert.ok(performance.now() - began < 9000);
  socket?.destroy();
});

test('a client that never finishes its headers is hung up on', async () => {
  assert.match(await dripping, /^HTTP\/1\.1 408 /);
});
