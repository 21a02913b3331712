// What a Worker hands on: in a real workerd, to a real Attune on Node and to servers that misbehave.

import assert from 'node:assert/strict';
import type { RequestListener } from 'node:http';
import { afterEach, test } from 'node:test';
import { generations } from '../shared/database/schema.ts';
import { until } from '../testing/edge-processes.ts';
import { type Json, setStage } from '../testing/edge-server.ts';
import { openWorker } from '../testing/worker-server.ts';
import { misbehave as misbehaveAt, openForwarder, openGate } from './forward-fixture.ts';

const KEY = 'sk-forward-test';
const JSON_TYPE = { 'content-type': 'application/json', 'x-attune-compute': 'node' };
const EVENTS = { 'content-type': 'text/event-stream', 'x-attune-compute': 'node' };
const CHAT = { messages: [{ role: 'user', content: 'hello' }], max_tokens: 4 };

const stage = await setStage({ API_KEY: KEY });
const gate = await openGate(stage.edge.url);
const SECRETS = {
  DATABASE_URL: 'postgres://postgres.example/attune',
  API_KEY: KEY,
  POLICY_STORE: 's3://policies',
  AWS_ENDPOINT_URL: 'https://s3.example',
  AWS_ACCESS_KEY_ID: 'id',
  AWS_SECRET_ACCESS_KEY: 'secret',
};
const worker = await openForwarder(gate, KEY, { ...SECRETS, MAX_ROWS: '3' });
afterEach(() => gate.to(stage.edge.url));

const misbehave = (listener: RequestListener) => misbehaveAt(gate, listener);
const event = (text: string) => `data: ${JSON.stringify({ choices: [{ delta: { content: text } }] })}\n\n`;

for (const via of ['url', 'container']) {
  test(`an Attune on Node answers through the Worker as it answers itself (${via})`, async () => {
    const asked = { ...CHAT, seed: 7 };
    const { status, headers, body } = await worker.ask(`/v1/chat/completions?via=${via}`, asked, {
      headers: { 'x-request-id': 'mine-1' },
    });
    assert.equal(status, 200, JSON.stringify(body));
    assert.equal(headers.get('x-request-id'), 'mine-1');
    const own = await stage.request('/v1/chat/completions', {
      json: asked,
      headers: { authorization: `Bearer ${KEY}` },
    });
    assert.deepEqual(body.choices[0].message, own.body.choices[0].message);

    const refused = await worker.ask(`/v1/chat/completions?via=${via}`, { ...CHAT, max_tokens: -1 });
    assert.equal(refused.status, 400);
    assert.equal(refused.body.error.param, 'max_tokens');
    assert.equal(refused.headers.get('x-should-retry'), 'false');
  });

  test(`a stream comes event by event, and whole (${via})`, async () => {
    const response = await worker.send(`/v1/chat/completions?via=${via}`, { ...CHAT, stream: true });
    assert.equal(response.headers.get('content-type'), 'text/event-stream; charset=utf-8');
    assert.match(await response.text(), /^data: .*\n\ndata: \[DONE\]\n\n$/s);

    let next = () => {};
    await misbehave((_, answer) => {
      answer.writeHead(200, EVENTS).write(event('one'));
      next = () => answer.end(`${event('two')}data: [DONE]\n\n`);
    });
    const slow = await worker.send(`/v1/chat/completions?via=${via}`, CHAT);
    const reader = slow.body!.pipeThrough(new TextDecoderStream()).getReader();
    assert.equal((await reader.read()).value, event('one'));
    next();
    assert.equal((await reader.read()).value, `${event('two')}data: [DONE]\n\n`);
    assert.equal((await reader.read()).done, true);
  });

  test(`a client that goes away ends the stream upstream within a second (${via})`, async () => {
    let closed = 0;
    await misbehave((_, answer) => {
      answer.writeHead(200, EVENTS);
      const talking = setInterval(() => answer.write(event('on and on')), 50);
      answer.on('close', () => {
        closed = performance.now();
        clearInterval(talking);
      });
    });
    const client = new AbortController();
    const response = await worker.send(`/v1/chat/completions?via=${via}`, CHAT, { signal: client.signal });
    await response.body!.getReader().read();
    const left = performance.now();
    client.abort();
    await until(3000, () => closed);
    assert.ok(closed - left < 1000, `it took ${closed - left} ms`);
  });

  test(`a stream whose upstream dies ends with an error, without half an event and without [DONE] (${via})`, async () => {
    let half = (_: string) => {};
    await misbehave((_, answer) => {
      answer.writeHead(200, EVENTS).write(event('one'));
      half = (text) => answer.write(text);
    });
    const response = await worker.send(`/v1/chat/completions?via=${via}`, CHAT);
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    assert.equal((await reader.read()).value, event('one'));
    half(`${event('two')}data: {"choices": [`);
    assert.equal((await reader.read()).value, event('two'));
    gate.cut();
    const { value } = await reader.read();
    assert.match(value!, /^data: \{"error":\{.*"code":"upstream_interrupted"\}\}\n\n$/);
    assert.equal((await reader.read()).done, true);
  });

  test(`an answer that breaks off is an error, not half of one (${via})`, async () => {
    await misbehave((_, answer) => {
      answer.writeHead(200, JSON_TYPE).write('{"id": "chatcmpl-');
      setTimeout(gate.cut, 100);
    });
    const broken = await worker.ask(`/v1/chat/completions?via=${via}`, CHAT);
    assert.equal(broken.status, 502);
    assert.equal(broken.body.error.code, 'upstream_interrupted');
    assert.equal(broken.headers.get('x-should-retry'), 'true');

    // It may have gone back already, and would then go back one more.
    const rollback = await worker.ask(`/v1/policies/rollback?via=${via}`, {});
    assert.equal(rollback.body.error.code, 'upstream_interrupted');
    assert.equal(rollback.headers.get('x-should-retry'), 'false');
  });

  test(`a request whose upstream dies at work is sent once and stored once (${via})`, async () => {
    let asked = 0;
    await misbehave((request) => {
      asked += 1;
      request.resume();
      setTimeout(gate.cut, 100);
    });
    const lost = await worker.ask(`/v1/comparisons?via=${via}`, { prompt: 'x' });
    assert.equal(lost.status, 503);
    assert.equal(lost.body.error.code, 'upstream_unavailable');
    assert.equal(asked, 1);

    gate.to(stage.edge.url);
    const before = await stage.connection.db.$count(generations);
    const body = { prompt: 'x', max_tokens: 2 };
    const headers = { 'idempotency-key': `once ${via}` };
    const [first, second] = [
      await worker.ask(`/v1/comparisons?via=${via}`, body, { headers }),
      await worker.ask(`/v1/comparisons?via=${via}`, body, { headers }),
    ];
    assert.equal(first.status, 200, JSON.stringify(first.body));
    assert.equal(second.body.id, first.body.id);
    assert.equal((await stage.connection.db.$count(generations)) - before, 2);
  });

  test(`a page of a proxy is not handed on (${via})`, async () => {
    await misbehave((_, answer) => answer.writeHead(502, { 'content-type': 'text/html' }).end('<h1>Bad Gateway</h1>'));
    const { status, headers, body } = await worker.ask(`/v1/chat/completions?via=${via}`, CHAT);
    assert.equal(status, 503);
    assert.equal(body.error.code, 'upstream_unavailable');
    assert.match(body.error.message, /responded 502 with text\/html, which is not this API/);
    assert.match(body.error.message, via === 'url' ? /^INFERENCE_URL \(127\.0\.0\.1:\d+\)/ : /^the container/);
    assert.equal(headers.get('x-should-retry'), 'true');
  });
}

test('an upstream that refuses connections is named, with what to look at', async () => {
  await gate.close();
  const { status, headers, body } = await worker.ask('/v1/chat/completions', CHAT);
  await gate.open();
  assert.equal(status, 503);
  assert.equal(body.error.code, 'upstream_unavailable');
  assert.match(
    body.error.message,
    /INFERENCE_URL \(127\.0\.0\.1:\d+\) cannot be reached; check that an Attune responds/,
  );
  assert.equal(headers.get('retry-after'), '1');
});

test('what answers as another API, redirects, or does not know the key or the policy is named and not tried again', async () => {
  const answers: [number, Record<string, string>, string, RegExp][] = [
    [200, { 'content-type': 'application/json' }, '{"id": "chatcmpl-1"}', /responded 200 and is not an Attune/],
    [307, { location: 'https://elsewhere.example/' }, '', /redirects to https:\/\/elsewhere\.example\//],
    [401, JSON_TYPE, '{"error": {"message": "no"}}', /give both the same API_KEY/],
    [404, JSON_TYPE, '{"error": {"message": "no"}}', /give both the same Postgres/],
  ];
  for (const [status, headers, text, message] of answers) {
    await misbehave((_, answer) => answer.writeHead(status, headers).end(text));
    const got = await worker.ask('/v1/chat/completions', CHAT);
    assert.equal(got.status, 502);
    assert.equal(got.body.error.code, 'upstream_misconfigured');
    assert.match(got.body.error.message, message);
    assert.equal(got.headers.get('x-should-retry'), 'false');
  }
});

test('an error of the upstream is handed on with its headers', async () => {
  const full = { error: { message: 'full', type: 'rate_limit_error', param: null, code: 'queue_full' } };
  await misbehave((_, answer) =>
    answer
      .writeHead(429, { ...JSON_TYPE, 'retry-after': '3', 'x-ratelimit-remaining-requests': '0' })
      .end(JSON.stringify(full)),
  );
  const { status, headers, body } = await worker.ask('/v1/chat/completions', CHAT);
  assert.equal(status, 429);
  assert.deepEqual(body, full);
  assert.equal(headers.get('retry-after'), '3');
  assert.equal(headers.get('x-ratelimit-remaining-requests'), '0');
});

test('an upstream that never answers is given up on after REQUEST_TIMEOUT and a bit', async () => {
  await misbehave((request) => request.resume());
  const began = performance.now();
  const { status, headers, body } = await worker.ask('/v1/chat/completions?seconds=-29.8', CHAT);
  assert.ok(performance.now() - began < 3000);
  assert.equal(status, 504);
  assert.equal(body.error.code, 'upstream_timeout');
  assert.equal(headers.get('x-should-retry'), 'false');
});

test('the request arrives as it was sent, less what belongs to the connection', async () => {
  let seen: { url?: string; headers?: Record<string, unknown>; body: string } = { body: '' };
  await misbehave((request, answer) => {
    seen = { url: request.url, headers: request.headers, body: '' };
    request.on('data', (chunk) => (seen.body += chunk)).on('end', () => answer.writeHead(200, JSON_TYPE).end('{}'));
  });
  await worker.ask(
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
  assert.equal(seen.url, '/v1/comparisons?a=%20b');
  assert.equal(seen.body, '{"prompt":"ä"}');
  assert.equal(seen.headers!.authorization, `Bearer ${KEY}`);
  assert.equal(seen.headers!['content-type'], 'application/json');
  assert.equal(seen.headers!['idempotency-key'], 'k');
  assert.equal(seen.headers!['x-stainless-lang'], 'js');
  assert.equal(seen.headers!['x-attune-forwarded'], '1');
  assert.match(String(seen.headers!['x-request-id']), /^req_/);
  assert.equal(seen.headers!['cf-connecting-ip'], undefined);
  assert.equal(seen.headers!['cf-container-target-port'], undefined);
});

test('a container that sleeps is started, with what it needs, and waited for', async () => {
  await worker.machine('stop');
  const before = (await worker.machine('play', { delay: 700 })).length;
  const began = performance.now();
  const both = await Promise.all([1, 2].map(() => worker.ask('/v1/chat/completions?via=container', CHAT)));
  assert.deepEqual(
    both.map(({ status }) => status),
    [200, 200],
    JSON.stringify(both.map(({ body }) => body)),
  );
  assert.ok(performance.now() - began > 600);
  const started = await worker.machine('play');
  assert.equal(started.length, before + 1);
  assert.deepEqual(started.at(-1), { ...SECRETS, HOST: '0.0.0.0', PORT: '8787', MAX_ROWS: '3' });
});

test('a container that was started with other settings is ended, and started with those of now', async () => {
  const before = (await worker.machine('play')).length;
  assert.equal((await worker.ask('/v1/chat/completions?via=container', CHAT)).status, 200);
  assert.equal((await worker.machine('play')).length, before);
  await worker.machine('age');
  const both = await Promise.all([1, 2].map(() => worker.ask('/v1/chat/completions?via=container', CHAT)));
  assert.deepEqual(
    both.map(({ status }) => status),
    [200, 200],
  );
  assert.equal((await worker.machine('play')).length, before + 1);
});

test('a container that ends while it starts is named, and the next request starts it again', async () => {
  await worker.machine('stop');
  await worker.machine('play', { delay: 1500, crashes: true });
  const { status, headers, body } = await worker.ask('/v1/chat/completions?via=container', CHAT);
  assert.equal(status, 503);
  assert.equal(body.error.code, 'container_failed', JSON.stringify(body));
  assert.equal(headers.get('retry-after'), '5');
  await worker.machine('play');
  assert.equal((await worker.ask('/v1/chat/completions?via=container', CHAT)).status, 200);
});

test('a container that takes too long to start asks the client to come again', async () => {
  await worker.machine('stop');
  await worker.machine('play', { delay: 3000 });
  const { status, headers, body } = await worker.ask('/v1/chat/completions?via=container', CHAT);
  assert.equal(status, 503);
  assert.equal(body.error.code, 'container_starting', JSON.stringify(body));
  assert.equal(headers.get('retry-after'), '5');
  assert.equal(headers.get('x-should-retry'), 'true');
  // It went on starting.
  const began = (await worker.machine('play')).length;
  assert.equal((await worker.ask('/v1/chat/completions?via=container', CHAT)).status, 200);
  assert.equal((await worker.machine('play')).length, began);
});

test('a caller beyond the rate is refused before its body is looked at, and others are not', async () => {
  const from = (address: string, json: unknown = {}) =>
    worker.ask('/limited/x', json, { headers: { 'cf-connecting-ip': address } });
  for (let at = 0; at < 3; at++) assert.equal((await from('192.0.2.1')).status, 200);
  const { status, headers, body } = await from('192.0.2.1', 'x'.repeat(200_000));
  assert.equal(status, 429);
  assert.equal(body.error.type, 'rate_limit_error');
  assert.equal(body.error.code, 'rate_limit_exceeded');
  assert.equal(headers.get('x-should-retry'), 'true');
  assert.equal(headers.get('retry-after'), '10');
  assert.equal((await from('192.0.2.2')).status, 200);
});

test('a body over MAX_BODY_BYTES is refused, announced or not', async () => {
  const whole = await worker.ask('/v1/chat/completions', 'x'.repeat(200_000));
  assert.equal(whole.status, 413);
  assert.equal(whole.body.error.code, 'body_too_large');
  const body = new ReadableStream({
    start(controller) {
      for (let at = 0; at < 20; at++) controller.enqueue(new TextEncoder().encode('x'.repeat(10_000)));
      controller.close();
    },
  });
  const streamed = await worker.ask('/v1/chat/completions', null, { body, duplex: 'half' } as RequestInit);
  assert.equal(streamed.status, 413);
});

test('a container without its secrets says which, and is not started', async () => {
  const { DATABASE_URL, ...others } = SECRETS;
  const bare = await openForwarder(gate, KEY, others);
  const { status, headers, body } = await bare.ask('/v1/chat/completions?via=container', CHAT);
  assert.equal(status, 503);
  assert.equal(body.error.code, 'container_misconfigured');
  assert.match(body.error.message, /lacks DATABASE_URL; .* `wrangler secret put DATABASE_URL`/);
  assert.equal(headers.get('x-should-retry'), 'false');
  assert.deepEqual(await bare.machine('play'), []);
});

test('the whole Worker sends what it cannot compute to INFERENCE_URL, says so, and refuses to be sent to itself', async () => {
  const whole = await openWorker(stage.databaseUrl, { API_KEY: KEY, INFERENCE_URL: gate.url });
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${KEY}` };
  const ask = (asked: unknown) =>
    fetch(`${whole.url}/v1/chat/completions`, { method: 'POST', headers, body: JSON.stringify(asked) });
  const reason = `policy ${stage.policyId}: it is served at row8`;

  const health = (await (await fetch(`${whole.url}/health`)).json()) as Json;
  assert.equal(health.compute.place, 'url');
  assert.ok(health.compute.reason.startsWith(reason), health.compute.reason);

  const streamed = await ask({ ...CHAT, stream: true });
  assert.equal(streamed.headers.get('x-attune-compute'), 'url');
  assert.ok(streamed.headers.get('x-attune-compute-reason')!.startsWith(reason));
  assert.match(await streamed.text(), /\n\ndata: \[DONE\]\n\n$/);

  const refused = await ask({ ...CHAT, messages: [] });
  assert.equal(refused.status, 400);
  assert.equal(refused.headers.get('x-attune-compute'), 'url');

  gate.to(whole.url);
  const looped = await ask(CHAT);
  assert.equal(looped.status, 508);
  assert.equal(looped.headers.get('x-should-retry'), 'false');
  assert.equal(((await looped.json()) as Json).error.code, 'forwarding_loop');
});

test('a container that this machine cannot have is named, with what to do instead', async () => {
  const whole = await openWorker(stage.databaseUrl, { API_KEY: KEY });
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${KEY}` };
  const answer = await fetch(`${whole.url}/v1/chat/completions`, {
    method: 'POST',
    headers,
    body: JSON.stringify(CHAT),
  });
  assert.equal(answer.status, 503);
  assert.equal(answer.headers.get('x-attune-compute'), 'container');
  assert.match(((await answer.json()) as Json).error.message, /^the container .*set INFERENCE_URL to another Attune$/);
});
