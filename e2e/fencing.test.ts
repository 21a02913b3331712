// One writer a round: trainers that lose their lock in each stage, with and without noticing, and operators who change
// the active policy meanwhile.

import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { type AddressInfo, connect as connectSocket, createServer, type Socket } from 'node:net';
import path from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { asc, eq, sql } from 'drizzle-orm';
import type { Connection } from '../shared/database/connect.ts';
import { LOCKS } from '../shared/database/lock.ts';
import { activations, policies, round_events, rounds } from '../shared/database/schema.ts';
import { readManifest, verifyFiles } from '../shared/package/files.ts';
import { requestRound } from '../shared/rounds/schedule.ts';
import { policiesFolder } from '../shared/store/local-store.ts';
import { activatePolicy, getActivePolicyId } from '../shared/store/registry.ts';
import { startEdgeServer } from '../testing/edge-server.ts';
import { requestLearnableRound } from '../testing/learnable-round.ts';
import { pauseIn, STAGES } from '../testing/pause-round.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { runNextRound, startTrainer, type Trainer } from '../trainer/main.ts';
import { InterruptedError } from '../trainer/stages/log.ts';

const server = await startEdgeServer({
  LEARNING_RATE: '0.001',
  TRAIN_THREADS: '1',
  TRAIN_MEMORY: String(2 ** 30),
  BATCH_PAIRS: '8',
});
const { connection, settings, localStore } = server;
const { db } = connection;
const context = { settings, store: localStore };

/** From the first policy. */
async function requestLearnable(name: string): Promise<string> {
  await activatePolicy(db, server.policyId, 'test');
  return requestLearnableRound(server, name);
}

const getEvents = (id: string) =>
  db.select().from(round_events).where(eq(round_events.round_id, id)).orderBy(asc(round_events.id));
const getRound = async (id: string) => (await db.select().from(rounds).where(eq(rounds.id, id)))[0]!;

async function terminateLock(): Promise<void> {
  await db.execute(sql`
    select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and objid = ${LOCKS.train} and granted`);
  await waitUntil(async () => {
    const held = await db.execute(sql`select 1 from pg_locks where locktype = 'advisory' and objid = ${LOCKS.train}`);
    return held.length === 0;
  });
}

const runUndisturbed = () => runNextRound(connection, context, () => {});

/** One policy of this round, active and complete, and nothing half-made beside it. */
async function assertPublishedOnce(id: string): Promise<void> {
  const round = await getRound(id);
  assert.deepEqual([round.status, round.stage], ['succeeded', 'active'], round.reason ?? '');
  const published = await db.select().from(policies).where(eq(policies.round_id, id));
  assert.deepEqual(
    published.map((policy) => policy.id),
    [round.policy_id],
  );
  assert.equal(await getActivePolicyId(db), round.policy_id);
  assert.equal(await db.$count(activations, eq(activations.policy_id, round.policy_id!)), 1);
  const root = policiesFolder(settings);
  for (const name of await readdir(root)) {
    assert.match(name, /^pol_/, 'a staging folder remains');
    await verifyFiles(path.join(root, name), await readManifest(path.join(root, name)));
  }
  const events = await getEvents(id);
  assert.equal(events.filter(({ data }) => data?.status === 'succeeded').length, 1);
  assert.deepEqual(events.at(-1)?.data, { stage: 'active', status: 'succeeded' });
}

for (const stage of STAGES) {
  test(`a trainer whose lock is terminated while ${stage} stops, and the next one finishes the round`, async () => {
    const id = await requestLearnable(`Terminated ${stage}`);
    const { trainer, onProgress } = pauseIn(context, stage, terminateLock);
    await assert.rejects(runNextRound(connection, trainer, onProgress), InterruptedError);
    const round = await getRound(id);
    assert.deepEqual([round.status, round.owner, round.attempts], ['running', null, 0]);
    assert.equal(await db.$count(policies, eq(policies.round_id, id)), 0);
    assert.equal(await runUndisturbed(), true);
    await assertPublishedOnce(id);
    assert.equal((await getRound(id)).attempts, 1);
  });
}

/** The same connection, but the lock's goes through a proxy that never tells the client that it was closed. */
const unnoticed = await (async (): Promise<Connection> => {
  const target = new URL(connection.url);
  const sockets = new Set<Socket>();
  const proxy = createServer({ allowHalfOpen: true }, (client) => {
    const upstream = connectSocket(Number(target.port), target.hostname);
    client.pipe(upstream);
    upstream.pipe(client, { end: false });
    for (const socket of [client, upstream]) sockets.add(socket.on('error', () => {}));
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  after(() => {
    proxy.close();
    for (const socket of sockets) socket.destroy();
  });
  const url = new URL(connection.url);
  url.port = String((proxy.address() as AddressInfo).port);
  return { ...connection, url: url.href };
})();

for (const stage of STAGES) {
  test(`of two trainers that both hold the lock since ${stage}, only the later one writes`, async () => {
    const id = await requestLearnable(`Unnoticed ${stage}`);
    let second: Promise<boolean> = Promise.resolve(false);
    let firstOwner: string | null = null;
    const { trainer, onProgress } = pauseIn(context, stage, async () => {
      firstOwner = (await getRound(id)).owner;
      await terminateLock();
      second = runUndisturbed();
      // The second has claimed it, and both go on at the same time.
      await waitUntil(async () => (await getRound(id)).owner !== firstOwner);
    });
    await assert.rejects(runNextRound(unnoticed, trainer, onProgress), InterruptedError);
    assert.equal(await second, true);
    assert.notEqual(firstOwner, null);
    await assertPublishedOnce(id);
    assert.equal((await getRound(id)).attempts, 2);
    const events = await getEvents(id);
    assert.ok(events.some(({ message }) => message.startsWith(`resumed: its trainer was stopped while ${stage}`)));
  });
}

const INTERRUPTIONS = [
  {
    how: 'stopped',
    status: 'running',
    act: async (_id: string, stop: AbortController) => stop.abort(new Error('stopped')),
  },
  {
    how: 'cancelled',
    status: 'cancelled',
    act: async (id: string) => {
      await server.request(`/v1/rounds/${id}/cancel`, { method: 'POST' });
      // The trainer looks every second.
      await sleep(3000);
    },
  },
];
for (const { how, status, act } of INTERRUPTIONS) {
  test(`a round ${how} while its policy is exported leaves no package behind`, async () => {
    const id = await requestLearnable(`Exported ${how}`);
    const packages = await readdir(policiesFolder(settings));
    const stop = new AbortController();
    const { trainer, onProgress } = pauseIn(context, 'publishing', () => act(id, stop));
    const run = runNextRound(connection, trainer, onProgress, stop.signal);
    if (status === 'running') await assert.rejects(run, InterruptedError);
    else assert.equal(await run, true);
    assert.equal((await getRound(id)).status, status);
    assert.deepEqual(await readdir(policiesFolder(settings)), packages);
    if (status === 'running') assert.equal(await runUndisturbed(), true);
  });
}

test('two trainers that claim at the same moment run two rounds one after the other', async () => {
  const ids = [await requestLearnable('Together one'), await requestLearnable('Together two')];
  while ((await Promise.all([runUndisturbed(), runUndisturbed(), runUndisturbed()])).includes(true));
  const [first, second] = await Promise.all(ids.map(getRound));
  assert.ok(first!.finished_at! <= second!.started_at!);
  assert.deepEqual([first!.attempts, second!.attempts], [1, 1]);
});

test('a policy that an operator promotes while a round publishes stays active', async () => {
  const promoted = await server.importTiny(7);
  const id = await requestLearnable('Promoted meanwhile');
  const { trainer, onProgress } = pauseIn(context, 'publishing', () => activatePolicy(db, promoted, 'promoted'));
  assert.equal(await runNextRound(connection, trainer, onProgress), true);
  const round = await getRound(id);
  assert.deepEqual([round.status, round.stage], ['succeeded', 'published'], round.reason ?? '');
  assert.match(round.reason ?? '', /^published, not active: /);
  assert.equal(await db.$count(policies, eq(policies.round_id, id)), 1);
  assert.equal(await getActivePolicyId(db), promoted);
});

test('a trainer that is asked to stop gives the round back however often that happens', async () => {
  const id = await requestLearnable('Stopped');
  for (let stop = 0; stop < 7; stop++) {
    const signal = new AbortController();
    const onProgress = (_round: unknown, { note }: { note: string }) => {
      if (note.startsWith('loss')) signal.abort(new Error('stopped (SIGTERM)'));
    };
    const stopped = runNextRound(connection, context, onProgress, signal.signal);
    await assert.rejects(stopped, /stopped \(SIGTERM\)/);
    assert.deepEqual((await getRound(id)).attempts, 0);
  }
  assert.equal(await runUndisturbed(), true);
  const events = await getEvents(id);
  // Each one went on after the step at which the one before it was stopped.
  const resumed = events.flatMap(({ message }) => /^resuming after step (\d+) of/.exec(message)?.[1] ?? []);
  assert.deepEqual(resumed.slice(0, 3), ['1', '2', '3']);
  assert.equal(resumed.length, 7);
  assert.equal((await getRound(id)).status, 'succeeded');
});

test('closing the scheduled trainer gives its round back', async () => {
  const id = await requestLearnable('Closed');
  let trainer: Trainer | undefined;
  let closed: Promise<void> | undefined;
  trainer = await startTrainer(settings, server.databaseUrl, (_round, { note }) => {
    if (note.startsWith('loss')) closed ??= trainer?.close();
  });
  await waitUntil(() => closed !== undefined, 60_000);
  await closed;
  const round = await getRound(id);
  assert.deepEqual([round.status, round.owner, round.attempts], ['running', null, 0]);
  assert.equal((await getEvents(id)).at(-1)?.message, 'stopped while training: the trainer was stopped');
  assert.equal(await runUndisturbed(), true);
  await assertPublishedOnce(id);
});

test('a round whose settings were written by hand fails by name, and the next one runs', async () => {
  const { id } = await requestRound(db, 'api', {});
  await db.execute(sql`update rounds set settings = '{"learning_rate": "fast"}' where id = ${id}`);
  assert.equal(await runUndisturbed(), true);
  const { status, reason } = await getRound(id);
  assert.equal(status, 'failed');
  assert.match(reason ?? '', /its settings are invalid \(learning_rate: /);
});
