// A Worker that forwards requests, in workerd, to Attune on Node and to misbehaving servers.

import assert from 'node:assert/strict';
import type { RequestListener } from 'node:http';
import { afterEach, test } from 'node:test';
import { generations } from '../shared/database/schema.ts';
import { type Json, startEdgeServer } from '../testing/edge-server.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { startWorkerServer } from '../testing/worker-server.ts';
import { openUpstreamProxy, serveInstead as serveInsteadAt, startForwarder } from './forward-fixture.ts';

const KEY = 'sk-forward-test';
const JSON_TYPE = { 'content-type': 'application/json', 'x-attune-compute': 'node' };
const EVENTS = { 'content-type': 'text/event-stream', 'x-attune-compute': 'node' };
const CHAT = { messages: [{ role: 'user', content: 'hello' }], max_tokens: 4 };

const server = await startEdgeServer({ API_KEY: KEY });
const proxy = await openUpstreamProxy(server.edge.url);
const SECRETS = {
  DATABASE_URL: 'postgres://postgres.example/attune',
  API_KEY: KEY,
  POLICY_STORE: 's3://policies',
  AWS_ENDPOINT_URL: 'https://s3.example',
  AWS_ACCESS_KEY_ID: 'id',
  AWS_SECRET_ACCESS_KEY: 'secret',
};
const worker = await startForwarder(proxy, KEY, { ...SECRETS, MAX_ROWS: '3' });
afterEach(() => proxy.forwardTo(server.edge.url));

const serveInstead = (listener: RequestListener) => serveInsteadAt(proxy, listener);
const event = (text: string) => `data: ${JSON.stringify({ choices: [{ delta: { content: text } }] })}\n\n`;

for (const via of ['url', 'container']) {
  test(`the Worker forwards to Attune on Node and returns its response (${via})`, async () => {
    const json = { ...CHAT, seed: 7 };
    const { status, headers, body } = await worker.request(`/v1/chat/completions?via=${via}`, json, {
      headers: { 'x-request-id': 'mine-1' },
    });
    assert.equal(status, 200, JSON.stringify(body));
    assert.equal(headers.get('x-request-id'), 'mine-1');
    const direct = await server.request('/v1/chat/completions', {
      json,
      headers: { authorization: `Bearer ${KEY}` },
    });
    assert.deepEqual(body.choices[0].message, direct.body.choices[0].message);

    const rejected = await worker.request(`/v1/chat/completions?via=${via}`, { ...CHAT, max_tokens: -1 });
    assert.equal(rejected.status, 400);
    assert.equal(rejected.body.error.param, 'max_tokens');
    assert.equal(rejected.headers.get('x-should-retry'), 'false');
  });

  test(`a repeated request that is forwarded gets the stored response (${via})`, async () => {
    for (const stream of [false, true]) {
      const headers = { 'idempotency-key': `${via}, ${stream}` };
      const send = () => worker.send(`/v1/chat/completions?via=${via}`, { ...CHAT, stream }, { headers });
      const first = await send();
      assert.equal(first.status, 200);
      const text = await first.text();
      const repeated = await send();
      assert.equal(repeated.headers.get('idempotent-replayed'), 'true');
      const getId = (body: string) => /"id":"(chatcmpl-\w+)"/.exec(body)?.[1];
      assert.equal(getId(await repeated.text()), getId(text) ?? assert.fail(text));
    }
  });

  test(`a stream is forwarded event by event and complete (${via})`, async () => {
    const response = await worker.send(`/v1/chat/completions?via=${via}`, { ...CHAT, stream: true });
    assert.equal(response.headers.get('content-type'), 'text/event-stream; charset=utf-8');
    assert.match(await response.text(), /^data: .*\n\ndata: \[DONE\]\n\n$/s);

    let next = () => {};
    await serveInstead((_, response) => {
      response.writeHead(200, EVENTS).write(event('one'));
      next = () => response.end(`${event('two')}data: [DONE]\n\n`);
    });
    const slow = await worker.send(`/v1/chat/completions?via=${via}`, CHAT);
    const reader = slow.body!.pipeThrough(new TextDecoderStream()).getReader();
    assert.equal((await reader.read()).value, event('one'));
    next();
    assert.equal((await reader.read()).value, `${event('two')}data: [DONE]\n\n`);
    assert.equal((await reader.read()).done, true);
  });

  test(`a client that disconnects cancels the upstream stream within a second (${via})`, async () => {
    let closed = 0;
    await serveInstead((_, response) => {
      response.writeHead(200, EVENTS);
      const timer = setInterval(() => response.write(event('on and on')), 50);
      response.on('close', () => {
        closed = performance.now();
        clearInterval(timer);
      });
    });
    const client = new AbortController();
    const response = await worker.send(`/v1/chat/completions?via=${via}`, CHAT, { signal: client.signal });
    await response.body!.getReader().read();
    const aborted = performance.now();
    client.abort();
    await waitUntil(() => closed, 3000);
    assert.ok(closed - aborted < 1000, `took ${closed - aborted} ms`);
  });

  test(`a stream whose upstream dies ends with an error event, without a partial event or [DONE] (${via})`, async () => {
    let writePart = (_: string) => {};
    await serveInstead((_, response) => {
      response.writeHead(200, EVENTS).write(event('one'));
      writePart = (text) => response.write(text);
    });
    const response = await worker.send(`/v1/chat/completions?via=${via}`, CHAT);
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    assert.equal((await reader.read()).value, event('one'));
    writePart(`${event('two')}data: {"choices": [`);
    assert.equal((await reader.read()).value, event('two'));
    proxy.cut();
    const { value } = await reader.read();
    assert.match(value!, /^data: \{"error":\{.*"code":"upstream_interrupted"\}\}\n\n$/);
    assert.equal((await reader.read()).done, true);
  });

  test(`an incomplete response becomes an error (${via})`, async () => {
    await serveInstead((_, response) => {
      response.writeHead(200, JSON_TYPE).write('{"id": "chatcmpl-');
      setTimeout(proxy.cut, 100);
    });
    const broken = await worker.request(`/v1/chat/completions?via=${via}`, CHAT);
    assert.equal(broken.status, 502);
    assert.equal(broken.body.error.code, 'upstream_interrupted');
    assert.equal(broken.headers.get('x-should-retry'), 'true');

    // A retry could roll back twice.
    const rollback = await worker.request(`/v1/policies/rollback?via=${via}`, {});
    assert.equal(rollback.body.error.code, 'upstream_interrupted');
    assert.equal(rollback.headers.get('x-should-retry'), 'false');
  });

  test(`a request whose upstream dies is sent once and stored once (${via})`, async () => {
    let requests = 0;
    await serveInstead((request) => {
      requests += 1;
      request.resume();
      setTimeout(proxy.cut, 100);
    });
    const lost = await worker.request(`/v1/comparisons?via=${via}`, { prompt: 'x' });
    assert.equal(lost.status, 503);
    assert.equal(lost.body.error.code, 'upstream_unavailable');
    assert.equal(requests, 1);

    proxy.forwardTo(server.edge.url);
    const before = await server.connection.db.$count(generations);
    const body = { prompt: 'x', max_tokens: 2 };
    const headers = { 'idempotency-key': `once ${via}` };
    const [first, second] = [
      await worker.request(`/v1/comparisons?via=${via}`, body, { headers }),
      await worker.request(`/v1/comparisons?via=${via}`, body, { headers }),
    ];
    assert.equal(first.status, 200, JSON.stringify(first.body));
    assert.equal(second.body.id, first.body.id);
    assert.equal((await server.connection.db.$count(generations)) - before, 2);
  });

  test(`an HTML error page of a proxy is not forwarded (${via})`, async () => {
    await serveInstead((_, response) =>
      response.writeHead(502, { 'content-type': 'text/html' }).end('<h1>Bad Gateway</h1>'),
    );
    const { status, headers, body } = await worker.request(`/v1/chat/completions?via=${via}`, CHAT);
    assert.equal(status, 503);
    assert.equal(body.error.code, 'upstream_unavailable');
    assert.match(body.error.message, /responded 502 with text\/html, which is not this API/);
    assert.match(body.error.message, via === 'url' ? /^INFERENCE_URL \(127\.0\.0\.1:\d+\)/ : /^the container/);
    assert.equal(headers.get('x-should-retry'), 'true');
  });
}

test('an upstream that refuses connections is named in the error, with the remedy', async () => {
  await proxy.close();
  const { status, headers, body } = await worker.request('/v1/chat/completions', CHAT);
  await proxy.open();
  assert.equal(status, 503);
  assert.equal(body.error.code, 'upstream_unavailable');
  assert.match(
    body.error.message,
    /INFERENCE_URL \(127\.0\.0\.1:\d+\) cannot be reached; check that an Attune responds/,
  );
  assert.equal(headers.get('retry-after'), '1');
});

test('an upstream with another API, a redirect, another key or another database is named in a non-retryable error', async () => {
  const responses: [number, Record<string, string>, string, RegExp][] = [
    [200, { 'content-type': 'application/json' }, '{"id": "chatcmpl-1"}', /responded 200 and is not an Attune/],
    [307, { location: 'https://elsewhere.example/' }, '', /redirects to https:\/\/elsewhere\.example\//],
    [401, JSON_TYPE, '{"error": {"message": "no"}}', /give both the same API_KEY/],
    [404, JSON_TYPE, '{"error": {"message": "no"}}', /give both the same Postgres/],
  ];
  for (const [status, headers, text, message] of responses) {
    await serveInstead((_, response) => response.writeHead(status, headers).end(text));
    const result = await worker.request('/v1/chat/completions', CHAT);
    assert.equal(result.status, 502);
    assert.equal(result.body.error.code, 'upstream_misconfigured');
    assert.match(result.body.error.message, message);
    assert.equal(result.headers.get('x-should-retry'), 'false');
  }
});

test('an error of the upstream is forwarded with its headers', async () => {
  const full = { error: { message: 'full', type: 'rate_limit_error', param: null, code: 'queue_full' } };
  await serveInstead((_, response) =>
    response
      .writeHead(429, { ...JSON_TYPE, 'retry-after': '3', 'x-ratelimit-remaining-requests': '0' })
      .end(JSON.stringify(full)),
  );
  const { status, headers, body } = await worker.request('/v1/chat/completions', CHAT);
  assert.equal(status, 429);
  assert.deepEqual(body, full);
  assert.equal(headers.get('retry-after'), '3');
  assert.equal(headers.get('x-ratelimit-remaining-requests'), '0');
});

test('an upstream that does not respond times out shortly after REQUEST_TIMEOUT', async () => {
  await serveInstead((request) => request.resume());
  const started = performance.now();
  const { status, headers, body } = await worker.request('/v1/chat/completions?seconds=-29.8', CHAT);
  assert.ok(performance.now() - started < 3000);
  assert.equal(status, 504);
  assert.equal(body.error.code, 'upstream_timeout');
  assert.equal(headers.get('x-should-retry'), 'false');
});

test('the request is forwarded without its connection headers', async () => {
  let received: { url?: string; headers?: Record<string, unknown>; body: string } = { body: '' };
  await serveInstead((request, response) => {
    received = { url: request.url, headers: request.headers, body: '' };
    request
      .on('data', (chunk) => (received.body += chunk))
      .on('end', () => response.writeHead(200, JSON_TYPE).end('{}'));
  });
  await worker.request(
    '/v1/comparisons?a=%20b',
    { prompt: 'ä' },
    {
      headers: {
        'idempotency-key': 'k',
        'x-stainless-lang': 'js',
        'cf-connecting-ip': '192.0.2.1',
        'cf-container-target-port': '22',
      },
    },
  );
  assert.equal(received.url, '/v1/comparisons?a=%20b');
  assert.equal(received.body, '{"prompt":"ä"}');
  assert.equal(received.headers!.authorization, `Bearer ${KEY}`);
  assert.equal(received.headers!['content-type'], 'application/json');
  assert.equal(received.headers!['idempotency-key'], 'k');
  assert.equal(received.headers!['x-stainless-lang'], 'js');
  assert.equal(received.headers!['x-attune-forwarded'], '1');
  assert.match(String(received.headers!['x-request-id']), /^req_/);
  assert.equal(received.headers!['cf-connecting-ip'], undefined);
  assert.equal(received.headers!['cf-container-target-port'], undefined);
});

test('a stopped container is started with its environment and awaited', async () => {
  await worker.machine('stop');
  const before = (await worker.machine('script', { delay: 700 })).length;
  const started = performance.now();
  const both = await Promise.all([1, 2].map(() => worker.request('/v1/chat/completions?via=container', CHAT)));
  assert.deepEqual(
    both.map(({ status }) => status),
    [200, 200],
    JSON.stringify(both.map(({ body }) => body)),
  );
  assert.ok(performance.now() - started > 600);
  const starts = await worker.machine('script');
  assert.equal(starts.length, before + 1);
  assert.deepEqual(starts.at(-1), { ...SECRETS, HOST: '0.0.0.0', PORT: '8787', MAX_ROWS: '3' });
});

test('a container started with other settings is restarted with the current ones', async () => {
  const before = (await worker.machine('script')).length;
  assert.equal((await worker.request('/v1/chat/completions?via=container', CHAT)).status, 200);
  assert.equal((await worker.machine('script')).length, before);
  await worker.machine('invalidate-env');
  const both = await Promise.all([1, 2].map(() => worker.request('/v1/chat/completions?via=container', CHAT)));
  assert.deepEqual(
    both.map(({ status }) => status),
    [200, 200],
  );
  assert.equal((await worker.machine('script')).length, before + 1);
});

test('a container that crashes at startup is named in the error, and the next request starts it again', async () => {
  await worker.machine('stop');
  await worker.machine('script', { delay: 1500, crashes: true });
  const { status, headers, body } = await worker.request('/v1/chat/completions?via=container', CHAT);
  assert.equal(status, 503);
  assert.equal(body.error.code, 'container_failed', JSON.stringify(body));
  assert.equal(headers.get('retry-after'), '5');
  await worker.machine('script');
  assert.equal((await worker.request('/v1/chat/completions?via=container', CHAT)).status, 200);
});

test('a container that is slow to start returns a retryable error', async () => {
  await worker.machine('stop');
  await worker.machine('script', { delay: 3000 });
  const { status, headers, body } = await worker.request('/v1/chat/completions?via=container', CHAT);
  assert.equal(status, 503);
  assert.equal(body.error.code, 'container_starting', JSON.stringify(body));
  assert.equal(headers.get('retry-after'), '5');
  assert.equal(headers.get('x-should-retry'), 'true');
  // It continued to start.
  const starts = (await worker.machine('script')).length;
  assert.equal((await worker.request('/v1/chat/completions?via=container', CHAT)).status, 200);
  assert.equal((await worker.machine('script')).length, starts);
});

test('a client over its rate limit is rejected before its body is read, and others are not', async () => {
  const from = (address: string, json: unknown = {}) =>
    worker.request('/limited/x', json, { headers: { 'cf-connecting-ip': address } });
  for (let at = 0; at < 3; at++) assert.equal((await from('192.0.2.1')).status, 200);
  const { status, headers, body } = await from('192.0.2.1', 'x'.repeat(200_000));
  assert.equal(status, 429);
  assert.equal(body.error.type, 'rate_limit_error');
  assert.equal(body.error.code, 'rate_limit_exceeded');
  assert.equal(headers.get('x-should-retry'), 'true');
  assert.equal(headers.get('retry-after'), '10');
  assert.equal((await from('192.0.2.2')).status, 200);
});

test('a body over MAX_BODY_BYTES is rejected with and without content-length', async () => {
  const whole = await worker.request('/v1/chat/completions', 'x'.repeat(200_000));
  assert.equal(whole.status, 413);
  assert.equal(whole.body.error.code, 'body_too_large');
  const body = new ReadableStream({
    start(controller) {
      for (let at = 0; at < 20; at++) controller.enqueue(new TextEncoder().encode('x'.repeat(10_000)));
      controller.close();
    },
  });
  const streamed = await worker.request('/v1/chat/completions', null, { body, duplex: 'half' } as RequestInit);
  assert.equal(streamed.status, 413);
});

test('a container without its secrets is not started, and the error names them', async () => {
  const { DATABASE_URL, ...others } = SECRETS;
  const bare = await startForwarder(proxy, KEY, others);
  const { status, headers, body } = await bare.request('/v1/chat/completions?via=container', CHAT);
  assert.equal(status, 503);
  assert.equal(body.error.code, 'container_misconfigured');
  assert.match(body.error.message, /lacks DATABASE_URL; .* `wrangler secret put DATABASE_URL`/);
  assert.equal(headers.get('x-should-retry'), 'false');
  assert.deepEqual(await bare.machine('script'), []);
});

test('edge/worker.ts forwards what it cannot run to INFERENCE_URL with the reason, and detects a forwarding loop', async () => {
  const fullWorker = await startWorkerServer(server.databaseUrl, { API_KEY: KEY, INFERENCE_URL: proxy.url });
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${KEY}` };
  const send = (json: unknown) =>
    fetch(`${fullWorker.url}/v1/chat/completions`, { method: 'POST', headers, body: JSON.stringify(json) });
  const reason = `policy ${server.policyId}: it is served at row8`;

  const health = (await (await fetch(`${fullWorker.url}/health`)).json()) as Json;
  assert.equal(health.compute.place, 'url');
  assert.ok(health.compute.reason.startsWith(reason), health.compute.reason);

  const streamed = await send({ ...CHAT, stream: true });
  assert.equal(streamed.headers.get('x-attune-compute'), 'url');
  assert.ok(streamed.headers.get('x-attune-compute-reason')!.startsWith(reason));
  assert.match(await streamed.text(), /\n\ndata: \[DONE\]\n\n$/);

  const rejected = await send({ ...CHAT, messages: [] });
  assert.equal(rejected.status, 400);
  assert.equal(rejected.headers.get('x-attune-compute'), 'url');

  proxy.forwardTo(fullWorker.url);
  const looped = await send(CHAT);
  assert.equal(looped.status, 508);
  assert.equal(looped.headers.get('x-should-retry'), 'false');
  assert.equal(((await looped.json()) as Json).error.code, 'forwarding_loop');
});

test('a container that this machine cannot run is named in the error, with the alternative', async () => {
  const fullWorker = await startWorkerServer(server.databaseUrl, { API_KEY: KEY });
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${KEY}` };
  const response = await fetch(`${fullWorker.url}/v1/chat/completions`, {
    method: 'POST',
    headers,
    body: JSON.stringify(CHAT),
  });
  assert.equal(response.status, 503);
  assert.equal(response.headers.get('x-attune-compute'), 'container');
  assert.match(
    ((await response.json()) as Json).error.message,
    /^the container .*set INFERENCE_URL to another Attune$/,
  );
});
