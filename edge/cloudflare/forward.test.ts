// Forwarding without workerd; e2e/forward.test.ts tests it in a Worker.

import assert from 'node:assert/strict';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { Hono } from 'hono';
import { requestId } from 'hono/request-id';
import { toErrorResponse } from '../http/errors.ts';
import { createContainerUpstream, createUrlUpstream, forwardTo } from './forward.ts';

const JSON_TYPE = { 'content-type': 'application/json', 'x-attune-compute': 'node' };

async function openUpstream(listener: RequestListener, path = '') {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  after(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`;
  const app = new Hono();
  app.onError((error, context) => toErrorResponse(context, error));
  app.use(requestId());
  app.post('*', (context) => forwardTo(createUrlUpstream(url), context, { timeoutSeconds: 60, isRetrySafe: true }));
  return (target: string, init: RequestInit = {}) => app.request(target, { method: 'POST', body: '{}', ...init });
}

test('a client that disconnects before the response is complete cancels the upstream request', async () => {
  const arrived = Promise.withResolvers<void>();
  const closed = Promise.withResolvers<void>();
  const post = await openUpstream((request) => {
    request.socket.on('close', () => closed.resolve());
    request.resume();
    arrived.resolve();
  });
  const client = new AbortController();
  const response = post('/v1/completions', { signal: client.signal });
  await arrived.promise;
  client.abort();
  await closed.promise;
  assert.equal((await response).status, 499);
});

test('INFERENCE_URL may have a path, with or without a trailing slash', async () => {
  for (const path of ['/attune', '/attune/', '/']) {
    const post = await openUpstream((request, response) => {
      response.writeHead(200, JSON_TYPE).end(JSON.stringify({ url: request.url }));
    }, path);
    const { url } = (await (await post('/v1/completions?a=1')).json()) as { url: string };
    assert.equal(url, `${path.replace(/\/$/, '')}/v1/completions?a=1`);
  }
});

test('a response that a proxy compressed is passed on decompressed', async () => {
  const post = await openUpstream((request, response) => {
    assert.equal(request.headers['accept-encoding'], 'identity');
    response.writeHead(200, { ...JSON_TYPE, 'content-encoding': 'gzip' }).end(gzipSync('{"id": "x"}'));
  });
  const response = await post('/v1/completions', { headers: { 'accept-encoding': 'gzip' } });
  assert.equal(response.headers.get('content-encoding'), null);
  assert.deepEqual(await response.json(), { id: 'x' });
});

test('an error body of another API is not passed on', async () => {
  const post = await openUpstream(
    (_, response) => void response.writeHead(500, JSON_TYPE).end('{"Message": "no targets"}'),
  );
  const response = await post('/v1/completions');
  assert.equal(response.status, 503);
  const { error } = (await response.json()) as { error: { message: string; code: string } };
  assert.equal(error.code, 'upstream_unavailable');
  assert.match(error.message, /responded 500 with an unknown error body/);
});

test('requests are spread over the given number of containers', () => {
  const named = new Set<string>();
  const namespace = { getByName: (name: string) => void named.add(name) };
  for (let at = 0; at < 200; at++) createContainerUpstream(namespace as never, 3);
  assert.deepEqual([...named].sort(), ['edge 0', 'edge 1', 'edge 2']);
});
