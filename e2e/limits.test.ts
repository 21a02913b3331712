// What one process of the API admits: connections, imports and event streams at once, requests and tokens per minute.

import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { eq } from 'drizzle-orm';
import { preferences, rounds } from '../shared/database/schema.ts';
import { type Json, startEdgeServer, withEdge } from '../testing/edge-server.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { startWorkerServer } from '../testing/worker-server.ts';

const server = await startEdgeServer();
const IMPORT = '/v1/preferences/import';
const KEYS = ['sk-limited-one', 'sk-limited-two'];
const [AS_FIRST, AS_SECOND] = KEYS.map((key) => ({ authorization: `Bearer ${key}` })) as [BearerHeader, BearerHeader];
type BearerHeader = { authorization: string };

function assertTooMany(
  { status, headers, body }: { status: number; headers: Headers; body: Json },
  message: RegExp,
): void {
  assert.equal(status, 429);
  assert.equal(body.error.code, 'too_many_requests');
  assert.match(body.error.message, message);
  assert.deepEqual([headers.get('x-should-retry'), headers.get('retry-after')], ['true', '10']);
}

const PAIR = { prompt: 'Q', chosen: 'a', rejected: 'b' };
const ROW = `${JSON.stringify(PAIR)}\n`;

/** Begins an import, which ends with `close`. */
function openImport(url: string, rows: string, credentials: Record<string, string> = {}) {
  const headers = { 'content-type': 'application/jsonl', ...credentials };
  const { readable, writable } = new TransformStream<Uint8Array>();
  const writer = writable.getWriter();
  const init: RequestInit & { duplex: 'half' } = { method: 'POST', body: readable, headers, duplex: 'half' };
  const response = fetch(url + IMPORT, init);
  void writer.write(new TextEncoder().encode(rows));
  return { response, close: () => writer.close() };
}

test('a third import at once gets a 429, and one that ended makes room', async () => {
  const running = [openImport(server.edge.url, ROW), openImport(server.edge.url, ROW)];
  const third = await waitUntil(async () => {
    const response = await server.request(IMPORT, { method: 'POST', body: ROW });
    return response.status === 429 && response;
  }, 10_000);
  assertTooMany(third, /2 imports/);
  // Its body, which is larger than any buffer on the way, is not read.
  assertTooMany(await server.request(IMPORT, { method: 'POST', body: ROW.repeat(200_000) }), /2 imports/);
  for (const { close } of running) await close();
  for (const { response } of running) assert.equal((await response).status, 200);
  assert.equal((await server.request(IMPORT, { method: 'POST', body: ROW })).body.duplicates, 1);
});

test('of several keys, each may have one import at once', async () => {
  await withEdge(server, { API_KEY: KEYS.join() }, async (send, url) => {
    const first = openImport(url, ROW, AS_FIRST);
    const second = await waitUntil(async () => {
      const response = await send(IMPORT, PAIR, AS_FIRST);
      return response.status === 429 && response;
    }, 10_000);
    assertTooMany(second, /this API key .* imports/);
    assert.equal((await send(IMPORT, PAIR, AS_SECOND)).status, 200);
    await first.close();
    assert.equal((await first.response).status, 200);
    assert.equal((await send(IMPORT, PAIR, AS_FIRST)).status, 200);
  });
});

test('the hundred and first event stream gets a 429, and all are served by the others’ process', async () => {
  const { body: round } = await server.request('/v1/rounds', { json: {} });
  const path = `/v1/rounds/${round.id}/events`;
  const streams = await Promise.all(Array.from({ length: 100 }, () => fetch(server.edge.url + path)));
  assert.deepEqual(new Set(streams.map(({ status }) => status)), new Set([200]));
  assertTooMany(await server.request(path), /100 event streams/);
  await cancelRound(round.id);
  for (const text of await Promise.all(streams.map((stream) => stream.text()))) assert.match(text, /^event: done\n/);
  assert.equal((await server.request(path)).status, 200);
});

test('of several keys, one leaves a third of the event streams to the others', async () => {
  await withEdge(server, { API_KEY: KEYS.join() }, async (send, url) => {
    const { body: round } = await send('/v1/rounds', {}, AS_FIRST);
    const open = (headers: Record<string, string>) => fetch(`${url}/v1/rounds/${round.id}/events`, { headers });
    const streams = await Promise.all(Array.from({ length: 66 }, () => open(AS_FIRST)));
    assert.deepEqual(new Set(streams.map(({ status }) => status)), new Set([200]));
    const refused = await open(AS_FIRST);
    const { status, headers } = refused;
    // Otherwise there is no end to read.
    assert.equal(status, 429);
    assertTooMany({ status, headers, body: await refused.json() }, /this API key .* event streams/);
    const other = await open(AS_SECOND);
    assert.equal(other.status, 200);
    await cancelRound(round.id);
    await Promise.all([...streams, other].map((stream) => stream.text()));
  });
});

async function cancelRound(id: string): Promise<void> {
  await server.connection.db
    .update(rounds)
    .set({ status: 'cancelled', finished_at: new Date() })
    .where(eq(rounds.id, id));
}

test('a Worker does not count imports: one that its platform ends would be counted for ever', async () => {
  const worker = await startWorkerServer(server.databaseUrl);
  // More rows than a batch: once they are stored, the import is known to have begun.
  const rows = Array.from({ length: 600 }, (_, at) => `${JSON.stringify({ ...PAIR, prompt: `Worker ${at}` })}\n`).join(
    '',
  );
  const running = [1, 2, 3].map((at) => openImport(worker.url, rows.replaceAll('Worker', `Worker ${at}`)));
  const { db } = server.connection;
  await waitUntil(async () => (await db.$count(preferences)) >= 3 * 500, 60_000);
  for (const { close } of running) await close();
  for (const { response } of running) assert.equal((await response).status, 200);
});

test('a connection over MAX_CONNECTIONS takes the place of one that waits, and is closed if all are at work', async () => {
  await withEdge(server, { MAX_CONNECTIONS: '3' }, async (_send, url) => {
    const { hostname, port } = new URL(url);
    const open = () => connect({ host: hostname, port: Number(port) }).on('error', () => {});
    /** The status line; empty if the connection was closed without a response. */
    const getStatus = async (socket: Socket) => {
      socket.write('GET /status HTTP/1.1\r\nhost: localhost\r\n\r\n');
      for await (const part of socket.iterator({ destroyOnReturn: false })) return String(part).split('\r\n')[0]!;
      return '';
    };
    const sockets = [open(), open(), open()];
    for (const socket of sockets) assert.equal(await getStatus(socket), 'HTTP/1.1 200 OK');
    const fourth = open();
    assert.equal(await getStatus(fourth), 'HTTP/1.1 200 OK');
    await waitUntil(() => sockets[0]!.destroyed, 10_000);
    const working = [sockets[1]!, sockets[2]!, fourth];
    for (const socket of working)
      socket.write(
        'POST /v1/preferences HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n',
      );
    await waitUntil(async () => (await getStatus(open()).catch(() => '')) === '', 10_000);
    working[0]!.destroy();
    await waitUntil(async () => (await getStatus(open()).catch(() => '')) === 'HTTP/1.1 200 OK', 10_000);
    for (const socket of working) socket.destroy();
  });
});

const getLimits = (headers: Headers, kind: 'requests' | 'tokens') =>
  ['limit', 'remaining', 'reset'].map((name) => headers.get(`x-ratelimit-${name}-${kind}`));

test('each key has REQUESTS_PER_MINUTE, and headers that say what is left', async () => {
  await withEdge(server, { API_KEY: KEYS.join(), REQUESTS_PER_MINUTE: '3' }, async (send) => {
    const complete = (headers: Record<string, string>, stream = false) =>
      send('/v1/completions', { prompt: 'Once', max_tokens: 2, stream }, headers);
    for (const left of ['2', '1', '0']) {
      const { status, headers } = await complete(AS_FIRST, left === '1');
      assert.equal(status, 200);
      const [limit, remaining, reset] = getLimits(headers, 'requests');
      assert.deepEqual([limit, remaining], ['3', left]);
      assert.match(reset!, /^(1m0s|\d+s|\d+ms)$/);
      assert.deepEqual(getLimits(headers, 'tokens'), [null, null, null]);
    }
    for (let attempt = 0; attempt < 2; attempt++) {
      const { status, headers, body, text } = await complete(AS_FIRST);
      assert.equal(status, 429, text);
      assert.deepEqual([body.error.type, body.error.code], ['rate_limit_error', 'rate_limit_exceeded']);
      assert.equal(headers.get('x-should-retry'), 'true');
      const retryMs = Number(headers.get('retry-after-ms'));
      assert.ok(retryMs > 0 && retryMs <= 60_000, String(retryMs));
      assert.equal(headers.get('retry-after'), String(Math.ceil(retryMs / 1000)));
      assert.deepEqual(getLimits(headers, 'requests').slice(0, 2), ['3', '0']);
    }
    assert.equal((await complete(AS_SECOND)).status, 200);
  });
});

test('TOKENS_PER_MINUTE are taken before a generation, corrected after it, and given back if it fails', async () => {
  await withEdge(server, { API_KEY: KEYS.join(), TOKENS_PER_MINUTE: '100' }, async (send) => {
    const complete = (fields: object) => send('/v1/completions', { prompt: 'Once', ...fields }, AS_FIRST);
    const { body, headers } = await complete({ max_tokens: 30, stop: 'e' });
    const left = 100 - body.usage.total_tokens;
    assert.deepEqual(getLimits(headers, 'tokens').slice(0, 2), ['100', String(left)]);
    // Invalid, so nothing was taken; refused, because it may use too many: nothing either.
    const invalid = await complete({ max_tokens: 1e6 });
    assert.deepEqual([invalid.status, getLimits(invalid.headers, 'tokens')[1]], [400, String(left)]);
    for (const stream of [false, true]) {
      const refused = await complete({ max_tokens: 100, stream });
      assert.deepEqual([refused.status, refused.body.error.code], [429, 'rate_limit_exceeded']);
      assert.match(refused.body.error.message, /^too many tokens/);
      assert.equal(getLimits(refused.headers, 'tokens')[1], String(left));
    }
    const both = await Promise.all([complete({ max_tokens: 50, n: 1 }), complete({ max_tokens: 50, n: 1 })]);
    assert.deepEqual(both.map(({ status }) => status).sort(), [200, 429]);
    assert.equal((await send('/v1/completions', { prompt: 'Once', max_tokens: 90 }, AS_SECOND)).status, 200);
  });
});

test('without a limit there are no headers of one', async () => {
  const { headers } = await server.request('/v1/models');
  assert.deepEqual(
    [...headers.keys()].filter((name) => name.startsWith('x-ratelimit')),
    [],
  );
});
