// Failures around the Worker: an unreachable, unresponsive or killed Postgres, missing or damaged packages, missing
// bindings, invalid settings, large bodies, disconnecting clients, and bindings that throw.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { beforeEach, test } from 'node:test';
import { eq } from 'drizzle-orm';
import { generations, preferences } from '../shared/database/schema.ts';
import { type Json, startEdgeServer } from '../testing/edge-server.ts';
import { openTcpProxy } from '../testing/tcp-proxy.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { startWorkerServer } from '../testing/worker-server.ts';
import { startBrokenWorker } from './broken-worker.ts';

// The precision that a Worker runs itself.
const server = await startEdgeServer({ PRECISION: 'fp32' });
const { db } = server.connection;
const proxy = await openTcpProxy(server.databaseUrl);
await proxy.refuse();
const worker = await startWorkerServer(proxy.url);
await worker.uploadPolicy(await server.localStore.getFolder(server.policyId));

beforeEach(proxy.forward);

type TimedResponse = { status: number; headers: Headers; body: Json; seconds: number };

async function send(route: string, json?: unknown, base = worker.url): Promise<TimedResponse> {
  const began = performance.now();
  const response = await fetch(base + route, {
    ...(json === undefined ? {} : { method: 'POST', body: typeof json === 'string' ? json : JSON.stringify(json) }),
    headers: { 'content-type': 'application/json' },
  });
  const text = await response.text();
  const seconds = (performance.now() - began) / 1000;
  const body = text.startsWith('{') ? JSON.parse(text) : text;
  return { status: response.status, headers: response.headers, body, seconds };
}

/** Another one each time: a rater votes once on two texts. */
const makePreference = () => ({ prompt: crypto.randomUUID(), chosen: ' upon', rejected: ' down', rater: 'test' });
/** Without end-of-text tokens. */
const ENDLESS = { logit_bias: { 1: -100, 2: -100 } };
const BRIEF = { prompt: 'Once', max_tokens: 4 };

/** Routes that need Postgres respond with 503 within the time limit, and the others work. */
async function assertUnavailable(maxSeconds: number): Promise<void> {
  const requests = [send('/v1/preferences', makePreference()), send('/v1/completions', BRIEF), send('/v1/models')];
  for (const { status, headers, body, seconds: took } of await Promise.all(requests)) {
    assert.equal(status, 503, JSON.stringify(body));
    assert.equal(body.error.code, 'postgres_unavailable');
    assert.deepEqual(Object.keys(body.error), ['message', 'type', 'param', 'code']);
    assert.equal(headers.get('x-should-retry'), 'true');
    assert.ok(took < maxSeconds, `${took} s`);
  }
  const health = await send('/health');
  assert.deepEqual([health.status, health.body.status, health.body.postgres], [503, 'unavailable', 'unreachable']);
  assert.ok(health.seconds < maxSeconds);
  assert.equal((await send('/status')).status, 200);
  assert.match((await send('/metrics')).body, /^attune_postgres_up 0$/m);
  assert.equal((await send('/openapi.json')).status, 200);
}

async function assertAvailable(): Promise<void> {
  const response = await send('/v1/preferences', makePreference());
  assert.equal(response.status, 200, JSON.stringify(response.body));
  assert.equal(await db.$count(preferences, eq(preferences.id, response.body.id)), 1);
}

test('a Worker that starts before Postgres responds with 503, and works once Postgres is up', async () => {
  await proxy.refuse();
  await assertUnavailable(3).finally(proxy.forward);
  await assertAvailable();
  assert.equal((await send('/health')).body.postgres, 'ok');
});

test('an unresponsive Postgres times out within fifteen seconds', async () => {
  await proxy.blackhole();
  await assertUnavailable(15).finally(proxy.forward);
  await assertAvailable();
});

test('the Worker recovers from a Postgres outage without a restart', async () => {
  await proxy.refuse();
  await assertUnavailable(3).finally(proxy.forward);
  await assertAvailable();
});

/** A write whose COMMIT was sent is retried by the client only with an Idempotency-Key. */
const EXPECTED = new Set(['503 postgres_unavailable true', '503 postgres_outcome_unknown false']);

/** Eight sequential clients while `disturb` runs: every acknowledged preference is stored. */
async function assertNothingLost(name: string, count: number, disturb: () => Promise<void>): Promise<void> {
  const acknowledged: string[] = [];
  const rejected = new Set<string>();
  const disturbing = disturb();
  const indices = Array.from({ length: count }, (_, at) => at).values();
  const client = async () => {
    for (const at of indices) {
      const { status, headers, body } = await send('/v1/preferences', {
        ...makePreference(),
        prompt: `${name} ${at}`,
        rater: name,
      });
      if (status === 200) acknowledged.push(body.id);
      else rejected.add(`${status} ${body.error.code} ${headers.get('x-should-retry')}`);
    }
  };
  await Promise.all(Array.from({ length: 8 }, client));
  await disturbing;
  await waitUntil(async () => (await send('/health')).body.postgres === 'ok', 20_000);
  const stored = await waitUntil(
    () =>
      db
        .select()
        .from(preferences)
        .where(eq(preferences.rater, `user:${name}`))
        .catch(() => null),
    20_000,
  );
  const ids = new Set(stored.map(({ id }) => id));
  assert.deepEqual(
    acknowledged.filter((id) => !ids.has(id)),
    [],
  );
  assert.ok(acknowledged.length > 0);
  assert.deepEqual(
    [...rejected].filter((error) => !EXPECTED.has(error)),
    [],
  );
}

test('reset connections lose nothing acknowledged, and other requests get a 503 that says so', async () => {
  await assertNothingLost('cut', 160, async () => {
    for (let times = 0; times < 12; times++) {
      await new Promise((resolve) => setTimeout(resolve, 60));
      proxy.reset();
    }
  });
});

test('a Postgres killed under load loses nothing acknowledged', async () => {
  const pid = Number((await readFile(path.join(server.home, 'postgres/data/postmaster.pid'), 'utf8')).split('\n')[0]);
  await assertNothingLost('killed', 160, async () => {
    await new Promise((resolve) => setTimeout(resolve, 200));
    process.kill(pid, 'SIGKILL');
  });
});

test('a policy with a missing or damaged package fails with its name, and other policies work', async () => {
  const model = await server.importTiny(4);
  const folder = await server.localStore.getFolder(model);
  const assertRejected = async (expected: RegExp) => {
    for (const response of [
      await send('/v1/completions', { ...BRIEF, model }),
      await send(`/v1/policies/${model}/promote`, {}),
    ]) {
      assert.ok(response.status >= 400, JSON.stringify(response.body));
      assert.notEqual(response.body.error.code, 'internal_error');
      assert.match(response.body.error.message, expected);
    }
    assert.equal((await send('/v1/completions', BRIEF)).body.model, server.policyId);
  };
  await assertRejected(new RegExp(model));

  await worker.uploadPolicy(folder);
  const key = `${model}/onnx/serve.onnx`;
  const whole = new Uint8Array(await readFile(path.join(folder, 'onnx/serve.onnx')));
  await worker.bucket.put(key, whole.with(-1, whole.at(-1)! ^ 1));
  await assertRejected(new RegExp(`${model}.*onnx/serve\\.onnx`));

  // Once the package is repaired it is served without a restart.
  await worker.bucket.put(key, whole);
  const response = await waitUntil(async () => {
    const { status, body } = await send('/v1/completions', { ...BRIEF, model });
    return status === 200 && body;
  });
  assert.equal(response.model, model);
});

test('a body over the limit is rejected with and without content-length', async () => {
  const big = { ...makePreference(), chosen: 'x'.repeat(1_100_000) };
  const { status, body } = await send('/v1/preferences', big);
  assert.deepEqual([status, body.error.code], [413, 'body_too_large']);
  const chunks = new ReadableStream({
    start(controller) {
      for (let at = 0; at < 20; at++) controller.enqueue(new TextEncoder().encode('x'.repeat(100_000)));
      controller.close();
    },
  });
  const response = await fetch(`${worker.url}/v1/preferences`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: chunks,
    duplex: 'half',
  } as RequestInit);
  assert.equal(response.status, 413);
});

test('generations whose client disconnects during a stream are stored once, as cancelled', async () => {
  const model = await server.importTiny(5, { contextLength: 2048 });
  await worker.uploadPolicy(await server.localStore.getFolder(model));
  const body = JSON.stringify({ model, prompt: 'Once', max_tokens: 2000, stream: true, ...ENDLESS });
  // Those that leave first end while others still decode, when a client of Postgres could be closed too early.
  const disconnected = [1, 1, 1, 2, 4, 8, 16].map(async (reads) => {
    const abort = new AbortController();
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(`${worker.url}/v1/completions`, {
      method: 'POST',
      headers,
      body,
      signal: abort.signal,
    });
    const reader = response.body!.getReader();
    const { value } = await reader.read();
    for (let read = 1; read < reads; read++) await reader.read();
    abort.abort();
    return JSON.parse(/^data: (.*)$/m.exec(new TextDecoder().decode(value))![1]!).id as string;
  });
  for (const id of await Promise.all(disconnected)) {
    const rows = await waitUntil(async () => {
      const found = await db.select().from(generations).where(eq(generations.completion_id, id));
      return found.length > 0 && found;
    });
    assert.deepEqual(
      rows.map((row) => row.finish_reason),
      ['cancelled'],
    );
    const tokens = rows[0]!.token_ids.length;
    assert.ok(tokens > 0 && tokens < 2000, `${tokens} tokens`);
  }
  const name = 'attune worker';
  await waitUntil(async () => {
    const open = await server.connection.sql`select 1 from pg_stat_activity where application_name = ${name}`;
    return open.length === 0;
  });
});

for (const [binding, section] of [
  ['HYPERDRIVE', 'hyperdrive'],
  ['POLICIES', 'r2_buckets'],
  ['BACKGROUND', 'queues'],
  ['RATE_LIMIT', 'ratelimits'],
  ['ASSETS', 'assets'],
] as const) {
  test(`without the binding ${binding} every response names it`, async () => {
    const { url } = await startBrokenWorker(server.databaseUrl, { without: section });
    for (const [route, json] of [
      ['/status'],
      ['/health'],
      ['/v1/models'],
      ['/v1/preferences', makePreference()],
      ['/nowhere'],
    ] as const) {
      const { status, headers, body } = await send(route, json, url);
      assert.equal(status, 503, route);
      assert.match(body.error.message, new RegExp(`binding ${binding} is missing; add \\[`));
      assert.deepEqual([body.error.code, body.error.type, body.error.param], ['missing_binding', 'server_error', null]);
      assert.equal(headers.get('x-should-retry'), 'false');
    }
  });
}

test('an invalid or missing setting is named in every response', async () => {
  for (const [vars, expected] of [
    [{ MAX_ROWS: 'many' }, /^settings: MAX_ROWS: /],
    [{ LOOPBACK: 'false', HOST: '127.0.0.1' }, /^settings: API_KEY is missing/],
    [{ LOOPBACK: 'false', API_KEY: 'short' }, /^settings: API_KEY: /],
    [{ WEBHOOK_URL: 'http://127.0.0.1:9/' }, /^settings: WEBHOOK_SECRET/],
  ] as const) {
    const { url } = await startBrokenWorker(server.databaseUrl, { vars });
    for (const route of ['/status', '/v1/models']) {
      const { status, headers, body } = await send(route, undefined, url);
      assert.match(body.error.message, expected);
      assert.deepEqual([status, body.error.code, body.error.type], [503, 'invalid_settings', 'server_error']);
      assert.equal(headers.get('x-should-retry'), 'false');
    }
  }
});

test('a throwing queue, rate limiter or docs binding fails only requests that need it', async () => {
  const { url } = await startBrokenWorker(server.databaseUrl, { throwing: ['BACKGROUND', 'RATE_LIMIT', 'ASSETS'] });
  assert.equal((await send('/v1/preferences', makePreference(), url)).status, 200);
  assert.equal((await send('/v1/models', undefined, url)).status, 200);
  assert.equal((await send('/health', undefined, url)).status, 200);
  // A later request, after the queue has thrown.
  await new Promise((resolve) => setTimeout(resolve, 1500));
  assert.equal((await send('/v1/preferences', makePreference(), url)).status, 200);
  assert.ok((await send('/docs/swagger-ui.css', undefined, url)).status >= 400);
});

test('a throwing policy store fails only requests that need it, with a message', async () => {
  const { url } = await startBrokenWorker(server.databaseUrl, { throwing: ['POLICIES'] });
  const { status, body } = await send('/v1/completions', BRIEF, url);
  assert.ok(status >= 500, JSON.stringify(body));
  assert.notEqual(body.error.code, 'internal_error', body.error.message);
  assert.notEqual(body.error.code, 'postgres_unavailable');
  assert.equal((await send('/v1/preferences', makePreference(), url)).status, 200);
  assert.equal((await send('/health', undefined, url)).body.postgres, 'ok');
});
