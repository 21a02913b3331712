// The Worker on a Postgres that it shares with many others: a real pooler hands out ten connections, as Hyperdrive does.
// What is acknowledged is stored once, what comes back is what Node reads, and nobody leaves a connection open.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { inArray } from 'drizzle-orm';
import { generations, preferences } from '../shared/database/schema.ts';
import { until } from '../testing/edge-processes.ts';
import { type Json, setStage } from '../testing/edge-server.ts';
import { bringPgBouncer, openPooler, type Pooler } from '../testing/pgbouncer.ts';
import { openWorker, type WorkerStage } from '../testing/worker-server.ts';

const SIZE = 10;
const tool = bringPgBouncer();
const skip = 'missing' in tool && tool.missing;
let pooler: Pooler | undefined;
// Before the stage, which stops its Postgres only where nobody is connected.
after(() => pooler?.close());
// What a Worker computes itself.
const stage = await setStage({ PRECISION: 'fp32' });
const { db, sql } = stage.connection;
let worker: WorkerStage;
if (!('missing' in tool)) {
  pooler = await openPooler(tool, stage.databaseUrl, SIZE);
  worker = await openWorker(pooler.url);
  await worker.sendPolicy(await stage.shelf.folderOf(stage.policyId));
}

type Answer = { status: number; headers: Headers; body: Json };

async function ask(base: string, route: string, json?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  const response = await fetch(base + route, {
    ...(json === undefined ? {} : { method: 'POST', body: JSON.stringify(json) }),
    headers: { 'content-type': 'application/json', ...headers },
  });
  return { status: response.status, headers: response.headers, body: (await response.json()) as Json };
}

const BRIEF = { prompt: 'Once upon', max_tokens: 4, seed: 7 };

/** All clients of the Worker are gone, of the pooler and of Postgres itself. */
async function nobodyIsLeft(): Promise<void> {
  await until(15_000, async () => (await pooler!.clients()) === 0);
  const direct =
    await sql`select pid from pg_stat_activity where application_name = 'attune worker' and state <> 'idle'`;
  assert.deepEqual([...direct], []);
}

test('200 requests at once on ten connections: none fails, and every acknowledged row is there once', {
  skip,
}, async (t) => {
  const votable: string[] = [];
  for (let at = 0; at < 20; at++) votable.push((await ask(worker.url, '/v1/comparisons', BRIEF)).body.id);
  const raw = (at: number, text: string) => ({
    prompt: `Raw ${at}`,
    chosen: `${text} yes`,
    rejected: `${text} no`,
    rater: 'r',
  });
  const post = (json: unknown, key: string) => () =>
    ask(worker.url, '/v1/preferences', json, { 'idempotency-key': key });
  const requests: (() => Promise<Answer>)[] = [];
  for (let at = 0; at < 80; at++) requests.push(post(raw(at, 'short'), `raw ${at}`));
  // Each twice at once, under one key.
  for (let at = 80; at < 100; at++)
    for (let twice = 0; twice < 2; twice++) requests.push(post(raw(at, 'twin'), `twin ${at}`));
  for (let at = 100; at < 120; at++) requests.push(post(raw(at, 'x'.repeat(400_000)), `big ${at}`));
  for (const [at, comparison] of votable.entries())
    requests.push(post({ comparison, choice: 'a', rater: 'r' }, `vote ${at}`));
  for (let at = 0; at < 30; at++) requests.push(() => ask(worker.url, '/v1/preferences?limit=5'));
  for (let at = 0; at < 10; at++) requests.push(() => ask(worker.url, '/v1/comparisons', BRIEF));
  assert.equal(requests.length, 200);

  const began = performance.now();
  const answers = await Promise.all(requests.map((request) => request()));
  t.diagnostic(`200 requests took ${(performance.now() - began).toFixed(0)} ms on ${pooler!.most.servers} connections`);
  assert.deepEqual(
    answers.filter(({ status }) => status !== 200).map(({ status, body }) => `${status} ${JSON.stringify(body)}`),
    [],
  );
  assert.ok(pooler!.most.clients > SIZE, `only ${pooler!.most.clients} clients at once`);
  assert.ok(pooler!.most.servers <= SIZE, `${pooler!.most.servers} connections`);

  const ids = answers.map(({ body }) => body.id as string).filter((id) => id?.startsWith('pref_'));
  assert.equal(ids.length, 160);
  const acknowledged = [...new Set(ids)].sort();
  assert.equal(acknowledged.length, 140, 'twins got one answer');
  const rows = await db.select({ id: preferences.id }).from(preferences);
  assert.deepEqual(rows.map(({ id }) => id).sort(), acknowledged);
  await nobodyIsLeft();
});

test('clients that go away, errors and streams leave no connection open', { skip }, async () => {
  const gone = Array.from({ length: 10 }, async (_, at) => {
    const hangUp = new AbortController();
    setTimeout(() => hangUp.abort(), 5 + 10 * at);
    await fetch(`${worker.url}/v1/preferences`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ prompt: `Gone ${at}`, chosen: 'a'.repeat(100_000), rejected: 'b' }),
      signal: hangUp.signal,
    }).catch(() => {});
  });
  const errors = [
    ask(worker.url, '/v1/preferences', { comparison: 'cmp_none', choice: 'a' }),
    ask(worker.url, '/v1/preferences', { prompt: 'x' }),
    ask(worker.url, '/v1/completions', { model: 'pol_none', prompt: 'x' }),
    ask(worker.url, '/v1/nothing'),
    ask(worker.url, '/v1/preferences/pref_none'),
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
  await Promise.all([...gone, ...streams]);
  await nobodyIsLeft();
});

test('arrays, JSON, times and large integers are stored and read as Node does it', { skip }, async () => {
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
    [worker.url, stage.edge.url].map((url) => ask(url, '/v1/chat/completions', request)),
  );
  assert.equal(byWorker!.headers.get('x-attune-compute'), 'worker');
  const rowOf = async ({ body }: Answer) => {
    const [row] = await db
      .select()
      .from(generations)
      .where(inArray(generations.id, [body.id]));
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
    await ask(worker.url, '/v1/preferences', { ...vote, prompt: undefined, messages: request.messages })
  ).body;
  const comparison = (await ask(worker.url, '/v1/comparisons', BRIEF)).body;
  await ask(worker.url, '/v1/rounds', { epochs: 2, learning_rate: 1e-5 });
  const routes = [
    `/v1/chat/completions/${byNode!.body.id}`,
    `/v1/chat/completions/${byWorker!.body.id}`,
    '/v1/chat/completions?limit=3',
    `/v1/comparisons/${comparison.id}`,
    `/v1/preferences/${preference.id}`,
    '/v1/preferences?limit=50',
    '/v1/rounds',
    '/v1/policies',
    `/v1/policies/${stage.policyId}`,
    '/v1/models',
  ];
  for (const route of routes) {
    const [here, there] = await Promise.all([worker.url, stage.edge.url].map((url) => ask(url, route)));
    assert.equal(here!.status, there!.status, route);
    assert.deepEqual(here!.body, there!.body, route);
  }
  await nobodyIsLeft();
});
