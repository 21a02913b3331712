// Three API processes behind a load balancer that share only Postgres and the policy store: any of them can serve a
// request, a swap reaches all, and a killed process loses no acknowledged data.

import assert from 'node:assert/strict';
import { connect, createServer, type Socket } from 'node:net';
import { after, test } from 'node:test';
import { inArray } from 'drizzle-orm';
import { activations, generations, preferences } from '../shared/database/schema.ts';
import { activatePolicy } from '../shared/store/registry.ts';
import { readStream } from '../testing/completion-stream.ts';
import { openEdgeProcesses } from '../testing/edge-processes.ts';
import type { Json } from '../testing/edge-server.ts';
import { waitUntil } from '../testing/wait-until.ts';

const processes = await openEdgeProcesses();
const { db, sql } = processes.connection;
const policies = [await processes.importTiny({ seed: 1 }), await processes.importTiny({ seed: 2 })];
await activatePolicy(db, policies[0]!, 'test');
// Sequentially, so that the second and third find an existing schema and policy.
const servers = [await processes.start(), await processes.start(), await processes.start()];

/** A round-robin load balancer over the servers in `alive`. */
const alive = [...servers];
let turn = 0;
const balancer = createServer((client) => {
  const server = alive[turn++ % alive.length]!;
  const upstream = connect(Number(new URL(server.url).port), '127.0.0.1');
  const drop = (socket: Socket) => () => socket.destroy();
  client.on('error', drop(upstream)).on('close', drop(upstream));
  upstream.on('error', drop(client)).on('close', drop(client));
  client.pipe(upstream).pipe(client);
});
await new Promise<void>((resolve) => balancer.listen(0, '127.0.0.1', resolve));
const { port } = balancer.address() as { port: number };
const address = `http://127.0.0.1:${port}`;
after(() => balancer.close());

/** A request on a new connection, so that each goes to the next server. */
async function send(target: string, json?: unknown): Promise<{ status: number; body: Json }> {
  const response = await fetch(address + target, {
    ...(json === undefined ? {} : { method: 'POST', body: JSON.stringify(json) }),
    headers: { 'content-type': 'application/json', connection: 'close' },
  });
  return { status: response.status, body: await response.json() };
}

const getServedPolicy = async (url: string) => ((await (await fetch(`${url}/health`)).json()) as Json).policy;

let serving = policies[0]!;

/** Every server serves the policy within two seconds of `activate`; the best of three attempts, for busy machines. */
async function assertSwaps(activate: (id: string) => Promise<unknown>, among = servers): Promise<void> {
  const slowest: number[] = [];
  do {
    serving = policies.find((id) => id !== serving)!;
    await activate(serving);
    const began = performance.now();
    await Promise.all(among.map(({ url }) => waitUntil(async () => (await getServedPolicy(url)) === serving)));
    slowest.push(Math.round(performance.now() - began));
  } while (Math.min(...slowest) >= 2000 && slowest.length < 3);
  assert.ok(Math.min(...slowest) < 2000, `the slowest server took ${slowest} ms`);
}

const promote = (id: string) => activatePolicy(db, id, 'test');

test('a comparison created on one server can be voted on and read on others', async () => {
  const messages = [{ role: 'user', content: 'Once' }];
  for (let round = 0; round < 3; round++) {
    const created = await send('/v1/comparisons', { messages, max_tokens: 5, seed: round });
    assert.equal(created.status, 200, JSON.stringify(created.body));
    const voted = await send('/v1/preferences', { comparison: created.body.id, choice: 'a', rater: 'test' });
    assert.equal(voted.status, 200, JSON.stringify(voted.body));
    const read = await send(`/v1/comparisons/${created.body.id}`);
    assert.equal(read.status, 200);
    assert.equal(read.body.id, created.body.id);

    const completion = await send('/v1/chat/completions', { messages, max_tokens: 5, seed: round });
    const stored = await send(`/v1/chat/completions/${completion.body.id}`);
    assert.deepEqual(stored.body.choices, completion.body.choices);
  }
});

test('any server can stream, and the same seed gives the same text on all', async () => {
  const body = { prompt: 'Once upon', max_tokens: 12, seed: 5 };
  const streams = await Promise.all(servers.map(({ url }) => readStream(url, body)));
  assert.ok(streams.every(({ isComplete }) => isComplete));
  assert.equal(new Set(streams.map(({ text }) => text)).size, 1);
  const again = await Promise.all(Array.from({ length: 9 }, () => readStream(address, body)));
  assert.ok(again.every(({ isComplete, text }) => isComplete && text === streams[0]!.text));
});

test('a swap reaches every server within two seconds', () => assertSwaps(promote));

test('a swap without a notification reaches every server within two seconds', () =>
  assertSwaps((id) => db.insert(activations).values({ policy_id: id, reason: 'test' })));

test('a swap while connections to Postgres are terminated reaches every server within two seconds', async () => {
  await assertSwaps(async (id) => {
    const listeners = await sql`
      select pg_terminate_backend(pid) from pg_stat_activity
      where application_name = 'attune edge' and query ilike '%listen%'`;
    assert.equal(listeners.length, servers.length);
    await promote(id);
  });
  await assertSwaps(async (id) => {
    await sql`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'attune edge'`;
    await promote(id);
  });
  for (const { url } of servers) assert.equal((await fetch(`${url}/health`)).status, 200);
});

test('a server killed under load loses nothing acknowledged, and the others keep serving', async () => {
  const acknowledged = { generations: [] as string[], preferences: [] as string[] };
  let failures = 0;
  let isOver = false;
  const client = async (name: number) => {
    for (let at = 0; !isOver; at++) {
      try {
        const { status, body } = await send('/v1/completions', { prompt: 'Once', max_tokens: 8, seed: at });
        assert.equal(status, 200, JSON.stringify(body));
        acknowledged.generations.push(body.choices[0].generation_id);
        const pair = { prompt: `Killed ${name} ${at}`, chosen: ' yes', rejected: ' no', rater: 'test' };
        const vote = await send('/v1/preferences', pair);
        assert.equal(vote.status, 200, JSON.stringify(vote.body));
        acknowledged.preferences.push(vote.body.id);
      } catch (error) {
        // A broken connection is what a client of a killed process sees; other failures are assertion errors.
        if (error instanceof assert.AssertionError) throw error;
        failures++;
      }
    }
  };
  const clients = Array.from({ length: 6 }, (_, name) => client(name));
  await waitUntil(() => acknowledged.preferences.length > 20);
  assert.equal(failures, 0);
  const killed = servers[0]!;
  await killed.kill();
  alive.splice(alive.indexOf(killed), 1);
  const failedAtOnce = failures;
  const atKill = acknowledged.preferences.length;
  await waitUntil(() => acknowledged.preferences.length > atKill + 20);
  isOver = true;
  await Promise.all(clients);
  // At most the request in flight of each client, and none after the balancer has removed the server.
  assert.ok(failures - failedAtOnce <= clients.length, `${failures} failures, ${failedAtOnce} of them at once`);

  const stored = {
    generations: await db
      .select({ id: generations.id })
      .from(generations)
      .where(inArray(generations.id, acknowledged.generations)),
    preferences: await db
      .select({ id: preferences.id })
      .from(preferences)
      .where(inArray(preferences.id, acknowledged.preferences)),
  };
  assert.equal(stored.generations.length, acknowledged.generations.length);
  assert.equal(stored.preferences.length, acknowledged.preferences.length);
  await assertSwaps(promote, alive);
});
