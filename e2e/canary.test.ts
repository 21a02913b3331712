// A canary on several processes: who gets the candidate, what is recorded of it, that nothing is mixed or lost as it begins and
// ends, and what an edge does that cannot load it.

import assert from 'node:assert/strict';
import { mkdtemp, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { eq, inArray } from 'drizzle-orm';
import { assign } from '../edge/canary/assign.ts';
import { ANONYMOUS } from '../edge/middleware/auth.ts';
import { DEFAULT_TENANT } from '../shared/access/owner.ts';
import { cancelCanary, promoteCanary, rollBackCanary, startCanary } from '../shared/canary/canaries.ts';
import { canaries, comparisons, completions, generations, policy_minutes } from '../shared/database/schema.ts';
import { uploadPackage } from '../shared/store/copy-package.ts';
import { fetchByNodeHttp } from '../shared/store/node-http.ts';
import { activatePolicy } from '../shared/store/registry.ts';
import { openS3Store } from '../shared/store/s3.ts';
import { type CompletionStream, readStream } from '../testing/completion-stream.ts';
import { openEdgeProcesses } from '../testing/edge-processes.ts';
import type { Json } from '../testing/edge-server.ts';
import { startS3Server } from '../testing/s3-server.ts';
import { openTcpProxy } from '../testing/tcp-proxy.ts';
import { waitUntil } from '../testing/wait-until.ts';

const processes = await openEdgeProcesses();
const { db } = processes.connection;
/** Long enough that a stream can be watched. */
const long = { contextLength: 4096 };
let seed = 0;
const importTiny = () => processes.importTiny({ seed: ++seed, ...long });
const baseline = await importTiny();
await activatePolicy(db, baseline, 'test');
const edges = [await processes.start(), await processes.start()];

const SHARE = 0.3;
const by = { actor: 'test', reason: 'test' };
/** Of the canary that began last: a new one, of which nothing is known that a guard could go by. */
let candidate = '';
const start = async () => {
  candidate = await importTiny();
  const { id } = await db.transaction((transaction) =>
    startCanary(transaction, { policyId: candidate, share: SHARE, actor: 'test' }),
  );
  await waitFor((health) => health.candidate === candidate);
  return id;
};

async function send(url: string, target: string, json?: unknown): Promise<Json> {
  const response = await fetch(url + target, {
    ...(json === undefined ? {} : { method: 'POST', body: JSON.stringify(json) }),
    headers: { 'content-type': 'application/json' },
  });
  const body: Json = await response.json();
  assert.equal(response.status, 200, JSON.stringify(body));
  return body;
}

/** Until every edge reports it. */
async function waitFor(check: (health: Json) => boolean, among = edges): Promise<void> {
  await Promise.all(among.map(({ url }) => waitUntil(async () => check(await send(url, '/health')))));
}

const findCanary = async (id: string) => (await db.select().from(canaries).where(eq(canaries.id, id)))[0]!;

const users = Array.from({ length: 40 }, (_, at) => `user-${at}`);
const findArm = (id: string, user: string) =>
  assign({ id, share: SHARE }, { tenant: DEFAULT_TENANT, key: ANONYMOUS }, { user });
const findUser = (id: string, arm: string) => users.find((user) => findArm(id, user) === arm)!;

/** A stream of one user on each edge that has begun; `ended` resolves with both. */
async function openStreams(user: string): Promise<{ ended: Promise<CompletionStream[]> }> {
  const body = { prompt: 'Once', max_tokens: 1500, logit_bias: { 1: -100, 2: -100 }, logprobs: 0, user };
  const streams = edges.map(({ url }) => {
    let begin = () => {};
    const begun = new Promise<void>((resolve) => {
      begin = resolve;
    });
    return { begun, ended: readStream(url, body, begin) };
  });
  await Promise.all(streams.map(({ begun, ended }) => Promise.race([begun, ended])));
  return { ended: Promise.all(streams.map(({ ended }) => ended)) };
}

async function assertServedBy(streams: { ended: Promise<CompletionStream[]> }, policy: string): Promise<void> {
  for (const { policies, isComplete, error } of await streams.ended) {
    assert.ok(isComplete, error ?? 'incomplete');
    assert.deepEqual([...policies], [policy]);
  }
}

/** The candidate of this test, for the one that adds up. */
let tried = '';
test('every edge gives the candidate to the same users, and records the canary on both of its policies', async () => {
  const canary = await start();
  tried = candidate;
  const served = new Map<string, string>();
  for (const { url } of edges)
    for (const user of users) {
      const body = { prompt: `Of ${user} to ${url}`, max_tokens: 1, user };
      const { model, id } = await send(url, '/v1/completions', body);
      assert.equal(model, findArm(canary, user) === 'candidate' ? candidate : baseline);
      served.set(id, model);
    }
  const rows = await db
    .select({ id: completions.id, policy: completions.policy_id, canary: completions.canary_id })
    .from(completions)
    .where(inArray(completions.id, [...served.keys()]));
  assert.equal(rows.length, served.size);
  for (const row of rows) assert.deepEqual(row, { id: row.id, policy: served.get(row.id), canary });
  assert.deepEqual(new Set(served.values()), new Set([baseline, candidate]));

  const chat = { messages: [{ role: 'user', content: 'Hi' }], max_tokens: 1 };
  for (const user of users.slice(0, 10)) {
    const { model } = await send(edges[0]!.url, '/v1/chat/completions', { ...chat, user });
    assert.equal(model, findArm(canary, user) === 'candidate' ? candidate : baseline);
  }
  for (const model of [baseline, candidate]) {
    const named = await send(edges[0]!.url, '/v1/completions', { prompt: 'Once', max_tokens: 1, model });
    assert.equal(named.model, model);
    const [row] = await db.select().from(completions).where(eq(completions.id, named.id));
    assert.equal(row!.canary_id, null, 'who names a policy takes no part');
  }
  await db.transaction((transaction) => cancelCanary(transaction, canary, by));
  await waitFor((health) => health.candidate === null && health.policy === baseline);
});

test('a comparison sets the candidate against the active policy, in either order, and names them after the vote only', async () => {
  const canary = await start();
  const orders = new Set<string>();
  const { url } = edges[1]!;
  for (let at = 0; orders.size < 2 && at < 40; at++) {
    const created = await send(url, '/v1/comparisons', { prompt: `Once ${at}`, max_tokens: 4 });
    assert.deepEqual([created.a.model, created.b.model], [undefined, undefined]);
    await send(url, '/v1/preferences', { comparison: created.id, choice: 'a', rater: 'test' });
    const { a, b } = await send(url, `/v1/comparisons/${created.id}`);
    assert.deepEqual(new Set([a.model, b.model]), new Set([baseline, candidate]));
    orders.add(a.model);
  }
  assert.equal(orders.size, 2);
  const rows = await db.select().from(comparisons);
  assert.ok(rows.every(({ canary_id }) => canary_id === canary));
  const same = await send(url, '/v1/comparisons', { prompt: 'Once', max_tokens: 4, model: baseline });
  const [named] = await db.select().from(comparisons).where(eq(comparisons.id, same.id));
  assert.equal(named!.canary_id, null);
  await db.transaction((transaction) => cancelCanary(transaction, canary, by));
  await waitFor((health) => health.candidate === null);
});

test('a canary that is rolled back lets the candidate end its streams, and every edge is back on the active policy', async () => {
  const canary = await start();
  const user = findUser(canary, 'candidate');
  const streams = await openStreams(user);
  await db.transaction((transaction) => rollBackCanary(transaction, canary, 'running', by));
  await waitFor((health) => health.candidate === null && health.policy === baseline);
  for (const { url } of edges)
    assert.equal((await send(url, '/v1/completions', { prompt: 'Once', max_tokens: 1, user })).model, baseline);
  await assertServedBy(streams, candidate);
});

test('a promotion reaches every edge, and the streams of the policy before end on it', async () => {
  const canary = await start();
  const streams = await openStreams(findUser(canary, 'baseline'));
  const others = await openStreams(findUser(canary, 'candidate'));
  await db.transaction((transaction) => promoteCanary(transaction, canary, { ...by, watchHours: 0 }));
  await waitFor((health) => health.policy === candidate && health.candidate === null);
  for (const { url } of edges)
    for (const user of users.slice(0, 5)) {
      const { model, id } = await send(url, '/v1/completions', { prompt: 'Once', max_tokens: 1, user });
      assert.equal(model, candidate);
      const [row] = await db.select().from(completions).where(eq(completions.id, id));
      assert.equal(row!.canary_id, null);
    }
  await assertServedBy(streams, baseline);
  await assertServedBy(others, candidate);
  await activatePolicy(db, baseline, 'test');
  await waitFor((health) => health.policy === baseline);
});

test('another policy that an operator makes active ends the canary, on every edge', async () => {
  const canary = await start();
  const third = await importTiny();
  await send(edges[0]!.url, `/v1/policies/${third}/promote`, {});
  await waitFor((health) => health.policy === third && health.candidate === null);
  assert.equal((await findCanary(canary)).state, 'cancelled');
  for (const { url } of edges)
    for (const user of users.slice(0, 5))
      assert.equal((await send(url, '/v1/completions', { prompt: 'Once', max_tokens: 1, user })).model, third);
  await activatePolicy(db, baseline, 'test');
  await waitFor((health) => health.policy === baseline);
});

test('a candidate that no edge can load is rolled back, and nobody notices', async () => {
  const damaged = await importTiny();
  await truncate(path.join(await processes.localStore.getFolder(damaged), 'onnx/serve.onnx'), 100);
  const { id } = await db.transaction((transaction) =>
    startCanary(transaction, { policyId: damaged, share: SHARE, actor: 'test' }),
  );
  const user = findUser(id, 'candidate');
  const row = await waitUntil(async () => {
    for (const { url } of edges)
      assert.equal((await send(url, '/v1/completions', { prompt: 'Once', max_tokens: 1, user })).model, baseline);
    const found = await findCanary(id);
    return found.state === 'running' ? null : found;
  });
  assert.equal(row.state, 'rolled_back');
  assert.match(row.reason!, /attempts to load it failed, and no process serves it/);
  await waitFor((health) => health.policy === baseline && health.candidate === null);
});

for (const state of ['watching', 'rolled_back'])
  test(`blind votes of several raters decide: the canary is ${state}, on every edge`, async () => {
    const canary = await start();
    const preferred = state === 'watching' ? candidate : baseline;
    // E is 18.1 after six votes for one side, and 31.9 after seven.
    for (let at = 0; at < 7; at++) {
      const { url } = edges[at % 2]!;
      const { id, a } = await send(url, '/v1/comparisons', { prompt: `Once ${at}`, max_tokens: 4 });
      const [sides] = await db
        .select({ policy: completions.policy_id })
        .from(comparisons)
        .innerJoin(generations, eq(generations.id, comparisons.a_generation_id))
        .innerJoin(completions, eq(completions.id, generations.completion_id))
        .where(eq(comparisons.id, id));
      assert.equal(a.model, undefined);
      assert.equal((await findCanary(canary)).state, 'running');
      const choice = sides!.policy === preferred ? 'a' : 'b';
      await send(url, '/v1/preferences', { comparison: id, choice, rater: `rater ${at}` });
    }
    await waitFor((health) => health.policy === preferred && health.candidate === null);
    const row = await findCanary(canary);
    assert.equal(row.state, state);
    assert.match(row.reason!, state === 'watching' ? /7 of 7.*E\+ is 31\.9/ : /0 of 7.*E− is 31\.9/);
    if (preferred === baseline) return;
    await activatePolicy(db, baseline, 'test');
    await waitFor((health) => health.policy === baseline);
  });

test('what the policies served is added up by minute over all edges', async () => {
  const stored = await db
    .select({
      policy: completions.policy_id,
      id: completions.id,
      kind: completions.kind,
      tokens: generations.token_ids,
    })
    .from(generations)
    .innerJoin(completions, eq(completions.id, generations.completion_id));
  const expected = [baseline, tried].map((policy) => {
    const own = stored.filter((row) => row.policy === policy);
    const tokens = own.reduce((sum, row) => sum + row.tokens.length, 0);
    const responses = own.filter(({ kind }) => kind !== 'comparison').length;
    return { requests: new Set(own.map(({ id }) => id)).size, responses, tokens, errors: 0 };
  });
  assert.ok(expected.every(({ requests }) => requests > 2));
  let counted: typeof expected = [];
  await waitUntil(async () => {
    const rows = await db.select().from(policy_minutes);
    counted = [baseline, tried].map((policy) => {
      const own = rows.filter((row) => row.policy_id === policy);
      const sum = (name: 'requests' | 'responses' | 'completion_tokens' | 'errors') =>
        own.reduce((total, row) => total + row[name], 0);
      return {
        requests: sum('requests'),
        responses: sum('responses'),
        tokens: sum('completion_tokens'),
        errors: sum('errors'),
      };
    });
    return counted.every(({ requests }, at) => requests >= expected[at]!.requests);
  });
  // Those of comparisons, and to requests that named their policy, are traffic, and nothing that policies are judged by.
  assert.deepEqual(
    counted.map(({ requests, errors, tokens }) => ({ requests, errors, tokens })),
    expected.map(({ requests, errors, tokens }) => ({ requests, errors, tokens })),
  );
  assert.deepEqual(
    counted.map(({ responses }, at) => expected[at]!.responses - responses),
    [1, 1],
  );
});

test('an edge whose store is away serves the active policy, holds nothing against the candidate, and follows once it is back', async (context) => {
  const server = await startS3Server();
  if ('missing' in server) return context.skip(server.missing);
  after(server.close);
  const home = await mkdtemp(path.join(tmpdir(), 'attune-lagging-'));
  after(() => rm(home, { recursive: true, force: true }));
  const { location } = server;
  const store = openS3Store({ ...location, prefix: 'attune' }, fetchByNodeHttp);
  const upload = async (id: string) => uploadPackage(store, await processes.localStore.getFolder(id));
  await upload(baseline);
  const proxy = await openTcpProxy(location.endpoint);
  const lagging = await processes.start({
    ATTUNE_HOME: home,
    POLICY_STORE: `s3://${location.bucket}/attune`,
    AWS_ENDPOINT_URL: proxy.url,
    AWS_REGION: location.region,
    AWS_ACCESS_KEY_ID: location.accessKeyId,
    AWS_SECRET_ACCESS_KEY: location.secretAccessKey,
  });
  await waitFor((health) => health.policy === baseline, [lagging]);
  await proxy.refuse();
  const canary = await start();
  // Into the store itself, which this edge alone cannot reach.
  await upload(candidate);
  // As often as gives up a candidate that is at fault: no process has served it.
  const failure = new RegExp(`${candidate} failed to load; still serving ${baseline}`, 'g');
  await waitUntil(() => (lagging.output().match(failure) ?? []).length >= 3, 120_000);
  const json = { prompt: 'Once', max_tokens: 1, user: findUser(canary, 'candidate') };
  const served = await send(lagging.url, '/v1/completions', json);
  assert.equal(served.model, baseline);
  const [row] = await db.select().from(completions).where(eq(completions.id, served.id));
  assert.equal(row!.canary_id, null, 'it takes no part');
  assert.deepEqual((await send(lagging.url, '/health')).candidate, null);
  assert.equal((await findCanary(canary)).state, 'running');
  const failures = await db.select().from(policy_minutes).where(eq(policy_minutes.policy_id, candidate));
  assert.ok(failures.every(({ load_failures }) => load_failures === 0));
  await proxy.forward();
  await waitUntil(async () => (await send(lagging.url, '/v1/completions', json)).model === candidate, 90_000);
});
