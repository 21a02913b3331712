// What goes wrong around the Worker: Postgres away, silent or killed, a policy store that lacks or damages what is asked,
// missing bindings, wrong settings, bodies too large, clients that leave, a queue and a limiter that throw.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { beforeEach, test } from 'node:test';
import { eq } from 'drizzle-orm';
import { generations, preferences } from '../shared/database/schema.ts';
import { until } from '../testing/edge-processes.ts';
import { type Json, setStage } from '../testing/edge-server.ts';
import { openGate } from '../testing/tcp-proxy.ts';
import { openWorker } from '../testing/worker-server.ts';
import { openBroken } from './broken-worker.ts';

// What a Worker computes itself.
const stage = await setStage({ PRECISION: 'fp32' });
const { db } = stage.connection;
const gate = await openGate(stage.databaseUrl);
await gate.shut();
const worker = await openWorker(gate.url);
await worker.sendPolicy(await stage.shelf.folderOf(stage.policyId));

beforeEach(gate.open);

type Answer = { status: number; headers: Headers; body: Json; seconds: number };

async function ask(route: string, json?: unknown, base = worker.url): Promise<Answer> {
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

const PREFERENCE = { prompt: 'Once', chosen: ' upon', rejected: ' down', rater: 'test' };
/** The tiny policy never says that it has ended. */
const ENDLESS = { logit_bias: { 1: -100, 2: -100 } };
const BRIEF = { prompt: 'Once', max_tokens: 4 };

/** Nothing can be stored or read, every answer says so in time, and what needs no Postgres goes on. */
async function isUnavailable(seconds: number): Promise<void> {
  const asked = [ask('/v1/preferences', PREFERENCE), ask('/v1/completions', BRIEF), ask('/v1/models'), ask('/metrics')];
  for (const { status, headers, body, seconds: took } of await Promise.all(asked)) {
    assert.equal(status, 503, JSON.stringify(body));
    assert.equal(body.error.code, 'postgres_unavailable');
    assert.deepEqual(Object.keys(body.error), ['message', 'type', 'param', 'code']);
    assert.equal(headers.get('x-should-retry'), 'true');
    assert.ok(took < seconds, `${took} s`);
  }
  const health = await ask('/health');
  assert.deepEqual([health.status, health.body.status, health.body.postgres], [503, 'unavailable', 'unreachable']);
  assert.ok(health.seconds < seconds);
  assert.equal((await ask('/status')).status, 200);
  assert.equal((await ask('/openapi.json')).status, 200);
}

async function isWell(): Promise<void> {
  const answer = await ask('/v1/preferences', PREFERENCE);
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  assert.equal(await db.$count(preferences, eq(preferences.id, answer.body.id)), 1);
}

test('a Worker that starts before Postgres says so at once, and works when Postgres is there', async () => {
  await gate.shut();
  await isUnavailable(3).finally(gate.open);
  await isWell();
  assert.equal((await ask('/health')).body.postgres, 'ok');
});

test('a Postgres that is there and says nothing is unavailable within fifteen seconds', async () => {
  await gate.hush();
  await isUnavailable(15).finally(gate.open);
  await isWell();
});

test('a Postgres that goes away and comes back is noticed both times without a restart', async () => {
  await gate.shut();
  await isUnavailable(3).finally(gate.open);
  await isWell();
});

/** Requests one after the other in eight lanes, while `disturb` goes on. Every one that was acknowledged is stored. */
async function losesNothing(name: string, count: number, disturb: () => Promise<void>): Promise<void> {
  const acknowledged: string[] = [];
  const refused = new Set<string>();
  const disturbing = disturb();
  const left = Array.from({ length: count }, (_, at) => at).values();
  const lane = async () => {
    for (const at of left) {
      const { status, headers, body } = await ask('/v1/preferences', {
        ...PREFERENCE,
        prompt: `${name} ${at}`,
        rater: name,
      });
      if (status === 200) acknowledged.push(body.id);
      else refused.add(`${status} ${body.error.code} ${headers.get('x-should-retry')}`);
    }
  };
  await Promise.all(Array.from({ length: 8 }, lane));
  await disturbing;
  await until(20_000, async () => (await ask('/health')).body.postgres === 'ok');
  const stored = await until(20_000, () =>
    db
      .select()
      .from(preferences)
      .where(eq(preferences.rater, name))
      .catch(() => null),
  );
  const ids = new Set(stored.map(({ id }) => id));
  assert.deepEqual(
    acknowledged.filter((id) => !ids.has(id)),
    [],
  );
  assert.ok(acknowledged.length > 0);
  assert.deepEqual(
    [...refused].filter((answer) => answer !== '503 postgres_unavailable true'),
    [],
  );
}

test('connections that are cut lose nothing that was acknowledged, and the others are told to try again', async () => {
  await losesNothing('cut', 160, async () => {
    for (let times = 0; times < 12; times++) {
      await new Promise((resolve) => setTimeout(resolve, 60));
      gate.cut();
    }
  });
});

test('a Postgres that is killed under load loses nothing that was acknowledged', async () => {
  const pid = Number((await readFile(path.join(stage.home, 'postgres/data/postmaster.pid'), 'utf8')).split('\n')[0]);
  await losesNothing('killed', 160, async () => {
    await new Promise((resolve) => setTimeout(resolve, 200));
    process.kill(pid, 'SIGKILL');
  });
});

test('a policy whose package is not there, or damaged, is refused by name; the rest goes on', async () => {
  const model = await stage.importTiny(4);
  const folder = await stage.shelf.folderOf(model);
  const isRefused = async (expected: RegExp) => {
    for (const answer of [
      await ask('/v1/completions', { ...BRIEF, model }),
      await ask(`/v1/policies/${model}/promote`, {}),
    ]) {
      assert.ok(answer.status >= 400, JSON.stringify(answer.body));
      assert.notEqual(answer.body.error.code, 'internal_error');
      assert.match(answer.body.error.message, expected);
    }
    assert.equal((await ask('/v1/completions', BRIEF)).body.model, stage.policyId);
  };
  await isRefused(new RegExp(model));

  await worker.sendPolicy(folder);
  const key = `${model}/onnx/serve.onnx`;
  const whole = new Uint8Array(await readFile(path.join(folder, 'onnx/serve.onnx')));
  await worker.bucket.put(key, whole.with(-1, whole.at(-1)! ^ 1));
  await isRefused(new RegExp(`${model}.*onnx/serve\\.onnx`));

  // Mended, it serves without a restart.
  await worker.bucket.put(key, whole);
  const answer = await until(10_000, async () => {
    const { status, body } = await ask('/v1/completions', { ...BRIEF, model });
    return status === 200 && body;
  });
  assert.equal(answer.model, model);
});

test('a body over the limit is refused before it is read, with or without a length', async () => {
  const big = { ...PREFERENCE, chosen: 'x'.repeat(1_100_000) };
  const { status, body } = await ask('/v1/preferences', big);
  assert.deepEqual([status, body.error.code], [413, 'body_too_large']);
  const chunks = new ReadableStream({
    start(controller) {
      for (let at = 0; at < 20; at++) controller.enqueue(new TextEncoder().encode('x'.repeat(100_000)));
      controller.close();
    },
  });
  const response = await fetch(`${worker.url}/v1/preferences`, {
    method: 'POST',
    body: chunks,
    duplex: 'half',
  } as RequestInit);
  assert.equal(response.status, 413);
});

test('clients that leave in the middle of a stream: what they asked to store is kept as cancelled, once', async () => {
  const model = await stage.importTiny(5, { contextLength: 2048 });
  await worker.sendPolicy(await stage.shelf.folderOf(model));
  const body = JSON.stringify({ model, prompt: 'Once', max_tokens: 2000, stream: true, ...ENDLESS });
  const leaving = [1, 2, 4, 8, 16].map(async (reads) => {
    const leave = new AbortController();
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(`${worker.url}/v1/completions`, {
      method: 'POST',
      headers,
      body,
      signal: leave.signal,
    });
    const reader = response.body!.getReader();
    const { value } = await reader.read();
    for (let read = 1; read < reads; read++) await reader.read();
    leave.abort();
    return JSON.parse(/^data: (.*)$/m.exec(new TextDecoder().decode(value))![1]!).id as string;
  });
  for (const id of await Promise.all(leaving)) {
    const rows = await until(15_000, async () => {
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
  await until(15_000, async () => {
    const open = await stage.connection.sql`select 1 from pg_stat_activity where application_name = ${name}`;
    return open.length === 0;
  });
});

for (const [binding, section] of [
  ['HYPERDRIVE', 'hyperdrive'],
  ['POLICIES', 'r2_buckets'],
  ['BACKGROUND', 'queues'],
  ['RATE_LIMIT', 'ratelimits'],
  ['DOCS', 'assets'],
] as const) {
  test(`without the binding ${binding} every answer names it`, async () => {
    const { url } = await openBroken(stage.databaseUrl, { without: section });
    for (const [route, json] of [
      ['/status'],
      ['/health'],
      ['/v1/models'],
      ['/v1/preferences', PREFERENCE],
      ['/nowhere'],
    ] as const) {
      const { status, headers, body } = await ask(route, json, url);
      assert.equal(status, 503, route);
      assert.match(body.error.message, new RegExp(`binding ${binding} is missing; add \\[`));
      assert.deepEqual([body.error.code, body.error.type, body.error.param], ['missing_binding', 'server_error', null]);
      assert.equal(headers.get('x-should-retry'), 'false');
    }
  });
}

test('a wrong setting, and none where one is needed, are named in every answer', async () => {
  for (const [vars, expected] of [
    [{ MAX_ROWS: 'many' }, /^settings: MAX_ROWS: /],
    [{ LOOPBACK: 'false', HOST: '127.0.0.1' }, /^settings: API_KEY is missing/],
    [{ LOOPBACK: 'false', API_KEY: 'short' }, /^settings: API_KEY: /],
    [{ WEBHOOK_URL: 'http://127.0.0.1:9/' }, /^settings: WEBHOOK_SECRET/],
  ] as const) {
    const { url } = await openBroken(stage.databaseUrl, { vars });
    for (const route of ['/status', '/v1/models']) {
      const { status, headers, body } = await ask(route, undefined, url);
      assert.match(body.error.message, expected);
      assert.deepEqual([status, body.error.code, body.error.type], [503, 'invalid_settings', 'server_error']);
      assert.equal(headers.get('x-should-retry'), 'false');
    }
  }
});

test('a queue, a limiter and a docs folder that throw fail no request that does not need them', async () => {
  const { url } = await openBroken(stage.databaseUrl, { throwing: ['BACKGROUND', 'RATE_LIMIT', 'DOCS'] });
  assert.equal((await ask('/v1/preferences', PREFERENCE, url)).status, 200);
  assert.equal((await ask('/v1/models', undefined, url)).status, 200);
  assert.equal((await ask('/health', undefined, url)).status, 200);
  // The second request of an isolate, and one after the queue has refused.
  await new Promise((resolve) => setTimeout(resolve, 1500));
  assert.equal((await ask('/v1/preferences', PREFERENCE, url)).status, 200);
  assert.ok((await ask('/docs/swagger-ui.css', undefined, url)).status >= 400);
});

test('a policy store that throws fails what needs it, with a sentence, and nothing else', async () => {
  const { url } = await openBroken(stage.databaseUrl, { throwing: ['POLICIES'] });
  const { status, body } = await ask('/v1/completions', BRIEF, url);
  assert.ok(status >= 500, JSON.stringify(body));
  assert.notEqual(body.error.code, 'internal_error', body.error.message);
  assert.notEqual(body.error.code, 'postgres_unavailable');
  assert.equal((await ask('/v1/preferences', PREFERENCE, url)).status, 200);
  assert.equal((await ask('/health', undefined, url)).body.postgres, 'ok');
});
