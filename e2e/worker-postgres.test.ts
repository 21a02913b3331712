// The Worker behind PgBouncer with ten connections, pooled as Hyperdrive does: acknowledged rows are stored once, rows read
// the same as on Node, and no connection stays open.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { eq } from 'drizzle-orm';
import fc from 'fast-check';
import { selectGenerations } from '../shared/database/generations.ts';
import { generations, preferences } from '../shared/database/schema.ts';
import { arbitraryText } from '../testing/arbitrary-text.ts';
import { type Json, startEdgeServer } from '../testing/edge-server.ts';
import { installPgBouncer, type PgBouncer, startPgBouncer } from '../testing/pgbouncer.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { startWorkerServer, type WorkerServer } from '../testing/worker-server.ts';

const POOL_SIZE = 10;
const installed = installPgBouncer();
const skip = 'missing' in installed && installed.missing;
let pgbouncer: PgBouncer | undefined;
// Before the server, whose Postgres stops only without connections.
after(() => pgbouncer?.close());
// The precision that a Worker runs itself.
const server = await startEdgeServer({ PRECISION: 'fp32' });
const { db, sql } = server.connection;
let worker: WorkerServer;
if (!('missing' in installed)) {
  pgbouncer = await startPgBouncer(installed, server.databaseUrl, POOL_SIZE);
  worker = await startWorkerServer(pgbouncer.url);
  await worker.uploadPolicy(await server.localStore.getFolder(server.policyId));
}

type JsonResponse = { status: number; headers: Headers; body: Json };

async function send(
  base: string,
  route: string,
  json?: unknown,
  headers: Record<string, string> = {},
): Promise<JsonResponse> {
  const response = await fetch(base + route, {
    ...(json === undefined ? {} : { method: 'POST', body: JSON.stringify(json) }),
    headers: { 'content-type': 'application/json', ...headers },
  });
  return { status: response.status, headers: response.headers, body: (await response.json()) as Json };
}

const BRIEF = { prompt: 'Once upon', max_tokens: 4, seed: 7 };

/** The Worker has no open connection to PgBouncer or Postgres. */
async function assertNoConnections(): Promise<void> {
  await waitUntil(async () => (await pgbouncer!.countClients()) === 0, 15_000);
  const direct =
    await sql`select pid from pg_stat_activity where application_name = 'attune worker' and state <> 'idle'`;
  assert.deepEqual([...direct], []);
}

test('200 concurrent requests on ten connections all succeed, and every acknowledged row is stored once', {
  skip,
}, async (t) => {
  const votable: string[] = [];
  for (let at = 0; at < 20; at++) votable.push((await send(worker.url, '/v1/comparisons', BRIEF)).body.id);
  const raw = (at: number, text: string) => ({
    prompt: `Raw ${at}`,
    chosen: `${text} yes`,
    rejected: `${text} no`,
    rater: 'r',
  });
  const post = (json: unknown, key: string) => () =>
    send(worker.url, '/v1/preferences', json, { 'idempotency-key': key });
  const requests: (() => Promise<JsonResponse>)[] = [];
  for (let at = 0; at < 80; at++) requests.push(post(raw(at, 'short'), `raw ${at}`));
  // Each twice, concurrently, with one key.
  for (let at = 80; at < 100; at++)
    for (let twice = 0; twice < 2; twice++) requests.push(post(raw(at, 'twin'), `twin ${at}`));
  for (let at = 100; at < 120; at++) requests.push(post(raw(at, 'x'.repeat(400_000)), `big ${at}`));
  for (const [at, comparison] of votable.entries())
    requests.push(post({ comparison, choice: 'a', rater: 'r' }, `vote ${at}`));
  for (let at = 0; at < 30; at++) requests.push(() => send(worker.url, '/v1/preferences?limit=5'));
  for (let at = 0; at < 10; at++) requests.push(() => send(worker.url, '/v1/comparisons', BRIEF));
  assert.equal(requests.length, 200);

  const started = performance.now();
  const responses = await Promise.all(requests.map((request) => request()));
  t.diagnostic(
    `200 requests took ${(performance.now() - started).toFixed(0)} ms on ${pgbouncer!.peak.servers} connections`,
  );
  assert.deepEqual(
    responses.filter(({ status }) => status !== 200).map(({ status, body }) => `${status} ${JSON.stringify(body)}`),
    [],
  );
  assert.ok(pgbouncer!.peak.clients > POOL_SIZE, `only ${pgbouncer!.peak.clients} clients at once`);
  assert.ok(pgbouncer!.peak.servers <= POOL_SIZE, `${pgbouncer!.peak.servers} connections`);

  const ids = responses.map(({ body }) => body.id as string).filter((id) => id?.startsWith('pref_'));
  assert.equal(ids.length, 160);
  const acknowledged = [...new Set(ids)].sort();
  assert.equal(acknowledged.length, 140, 'both requests with one key get one response');
  const rows = await db.select({ id: preferences.id }).from(preferences);
  assert.deepEqual(rows.map(({ id }) => id).sort(), acknowledged);
  await assertNoConnections();
});

test('disconnecting clients, errors and streams leave no connection open', { skip }, async () => {
  const disconnected = Array.from({ length: 10 }, async (_, at) => {
    const abort = new AbortController();
    setTimeout(() => abort.abort(), 5 + 10 * at);
    await fetch(`${worker.url}/v1/preferences`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ prompt: `Gone ${at}`, chosen: 'a'.repeat(100_000), rejected: 'b' }),
      signal: abort.signal,
    }).catch(() => {});
  });
  const errors = [
    send(worker.url, '/v1/preferences', { comparison: 'cmp_none', choice: 'a' }),
    send(worker.url, '/v1/preferences', { prompt: 'x' }),
    send(worker.url, '/v1/completions', { model: 'pol_none', prompt: 'x' }),
    send(worker.url, '/v1/nothing'),
    send(worker.url, '/v1/preferences/pref_none'),
  ];
  const streams = Array.from({ length: 4 }, async (_, at) => {
    const response = await fetch(`${worker.url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ ...BRIEF, max_tokens: 30, stream: true }),
    });
    const reader = response.body!.getReader();
    await reader.read();
    if (at % 2 === 0) await reader.cancel();
    else while (!(await reader.read()).done);
  });
  const statuses = (await Promise.all(errors)).map(({ status }) => status);
  assert.deepEqual(statuses, [404, 400, 404, 404, 404]);
  await Promise.all([...disconnected, ...streams]);
  await assertNoConnections();
});

test('texts that look like something else are stored and read as they are', { skip }, async () => {
  // Few enough for the Worker's rate limit.
  const texts = fc.sample(
    arbitraryText().filter((text) => text.trim() !== ''),
    60,
  );
  await Promise.all(
    texts.map(async (prompt, at) => {
      const sent = { prompt, chosen: 'x', rejected: 'y', rater: String(at), metadata: { texts: [prompt] } };
      const [writer, reader] = at % 2 === 0 ? [worker.url, server.edge.url] : [server.edge.url, worker.url];
      const { body } = await send(writer, '/v1/preferences', sent);
      const stored = await send(reader, `/v1/preferences/${body.id}`);
      assert.deepEqual([stored.body.prompt, stored.body.metadata], [prompt, sent.metadata]);
    }),
  );
  await assertNoConnections();
});

test('arrays, JSON, times and large integers are stored and read as on Node', { skip }, async () => {
  const metadata = { plain: 'ü "quoted" {1,2}', empty: '' };
  const seed = 2 ** 53 - 1;
  const request = {
    messages: [{ role: 'user', content: 'Once {upon} "a" \\ time' }],
    max_tokens: 6,
    seed,
    store: true,
    metadata,
    logprobs: true,
  };
  const [byWorker, byNode] = await Promise.all(
    [worker.url, server.edge.url].map((url) => send(url, '/v1/chat/completions', request)),
  );
  assert.equal(byWorker!.headers.get('x-attune-compute'), 'worker');
  const rowOf = async ({ body }: JsonResponse) => {
    const [row] = await selectGenerations(db).where(eq(generations.id, body.id));
    const { id, completion_id, created_at, logps, ...same } = row!;
    assert.ok(Math.abs(created_at.getTime() / 1000 - body.created) < 1);
    return { same, logps };
  };
  const [workers, nodes] = [await rowOf(byWorker!), await rowOf(byNode!)];
  assert.deepEqual(workers.same, nodes.same);
  assert.equal(workers.same.seed, seed);
  assert.ok(workers.logps.length > 0);
  for (const [at, logp] of workers.logps.entries()) assert.ok(Math.abs(logp - nodes.logps[at]!) < 1e-3);

  const vote = {
    prompt: request.messages,
    chosen: 'a',
    rejected: 'b',
    metadata: { nested: [1, { deep: null }], n: 1e15 },
  };
  const preference = (
    await send(worker.url, '/v1/preferences', { ...vote, prompt: undefined, messages: request.messages })
  ).body;
  const comparison = (await send(worker.url, '/v1/comparisons', BRIEF)).body;
  await send(worker.url, '/v1/rounds', { epochs: 2, learning_rate: 1e-5 });
  const routes = [
    `/v1/chat/completions/${byNode!.body.id}`,
    `/v1/chat/completions/${byWorker!.body.id}`,
    '/v1/chat/completions?limit=3',
    `/v1/comparisons/${comparison.id}`,
    `/v1/preferences/${preference.id}`,
    '/v1/preferences?limit=50',
    '/v1/rounds',
    '/v1/policies',
    `/v1/policies/${server.policyId}`,
    '/v1/models',
  ];
  for (const route of routes) {
    const [here, there] = await Promise.all([worker.url, server.edge.url].map((url) => send(url, route)));
    assert.equal(here!.status, there!.status, route);
    assert.deepEqual(here!.body, there!.body, route);
  }
  await assertNoConnections();
});
