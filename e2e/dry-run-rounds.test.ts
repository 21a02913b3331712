// Dry runs that are requested through the API and answered by a trainer, and the time that a running round has left.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { eq } from 'drizzle-orm';
import { heartbeats, policies, round_pairs, rounds, webhook_events } from '../shared/database/schema.ts';
import { countNewPairs } from '../shared/rounds/pairs.ts';
import { findObstacle } from '../shared/rounds/schedule.ts';
import { type Json, startEdgeServer } from '../testing/edge-server.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { runNextRound, startTrainer } from '../trainer/main.ts';
import type { Progress } from '../trainer/stages/log.ts';

const server = await startEdgeServer({
  LEARNING_RATE: '0.003',
  TRAIN_MIN_PAIRS: '10',
  TRAIN_THREADS: '1',
  TRAIN_MEMORY: String(2 ** 30),
  BATCH_PAIRS: '8',
});
const { connection, settings, localStore } = server;
const { db } = connection;
const context = { settings, store: localStore };

for (let at = 0; at < 40; at++) {
  const json = { prompt: `Story ${at}:`, chosen: ' yes yes', rejected: ' no no', rater: 'test' };
  assert.equal((await server.request('/v1/preferences', { json })).status, 200);
}

const request = async (json: object): Promise<string> => {
  const { status, body } = await server.request('/v1/rounds', { json });
  assert.equal(status, 200, JSON.stringify(body));
  return body.id;
};
const read = async (id: string): Promise<Json> => (await server.request(`/v1/rounds/${id}`)).body;
const run = (onProgress: (progress: Progress) => void = () => {}) =>
  runNextRound(connection, context, (_, progress) => onProgress(progress));

test('a dry run is answered by the trainer with what a round of these settings would do, and changes nothing', async () => {
  const fresh = await countNewPairs(db);
  const id = await request({ dry_run: true, method: { type: 'dil', dil: { objective: 'ukl', epochs: 3 } } });
  assert.deepEqual([(await read(id)).dry_run, (await read(id)).preview], [true, null]);
  assert.equal(await run(), true);
  const round = await read(id);
  assert.deepEqual([round.status, round.stage, round.policy, round.progress], ['succeeded', 'previewed', null, null]);
  const lines = Object.fromEntries(round.preview.map(({ name, text }: Json) => [name, text]));
  assert.match(lines.settings, /objective ukl/);
  assert.match(lines.work, /3 epochs/);
  assert.match(lines.time, /^about .* training /);
  assert.equal(lines.decision, 'it would run');
  assert.equal(round.reason, lines.decision);
  assert.equal(await countNewPairs(db), fresh);
  assert.equal(await db.$count(round_pairs), 0);
  assert.equal(await db.$count(webhook_events, eq(webhook_events.type, 'round.succeeded')), 0);
  assert.equal(await db.$count(policies), 1);
});

test('the schedule waits for no dry run, and takes none for the last round', async () => {
  assert.equal(await findObstacle(db, settings), null);
  const id = await request({ dry_run: true });
  assert.equal(await findObstacle(db, settings), null);
  await server.request(`/v1/rounds/${id}/cancel`, { method: 'POST' });
});

test('a dry run of a reward and one from the root are answered too', async () => {
  for (const json of [{ from_root: true }, { method: { type: 'reward', reward: {} } }]) {
    const id = await request({ dry_run: true, ...json });
    await run();
    const { status, stage, preview, reason } = await read(id);
    assert.deepEqual([status, stage], ['succeeded', 'previewed'], reason);
    assert.equal(preview.at(-1).text, 'it would run');
  }
});

test('a dry run that is cancelled stops where it is', async () => {
  const id = await request({ dry_run: true });
  let cancelled: Promise<unknown> | undefined;
  await run(() => {
    cancelled ??= server.request(`/v1/rounds/${id}/cancel`, { method: 'POST' });
  }).catch(() => {});
  await cancelled;
  const { status, stage, preview } = await read(id);
  assert.deepEqual([status, stage, preview], ['cancelled', 'cancelled', null]);
});

test('a dry run whose trainer was stopped is answered by the next one', async () => {
  const id = await request({ dry_run: true });
  const stop = new AbortController();
  const stopped = runNextRound(connection, context, () => stop.abort(new Error('stopped')), stop.signal);
  await assert.rejects(stopped, /stopped/);
  assert.equal((await read(id)).status, 'running');
  await run();
  assert.equal((await read(id)).stage, 'previewed');
});

test('a running round says how long the rest takes: null until a rate is known, never below 0, and 0 at the end', async () => {
  const id = await request({ method: { type: 'dil', dil: { epochs: 12 } } });
  const told: Progress[] = [];
  const stored: Json[] = [];
  const poll = setInterval(async () => {
    const { progress } = await read(id);
    if (progress) stored.push(progress);
  }, 200);
  await run((progress) => told.push(progress));
  clearInterval(poll);
  assert.equal((await read(id)).status, 'succeeded');
  assert.equal(told[0]!.secondsLeft, null);
  const known = told.flatMap(({ secondsLeft }) => secondsLeft ?? []);
  assert.ok(known.length > 10);
  assert.ok(known.every((seconds) => seconds >= 0 && Number.isFinite(seconds)));
  const ofPublishing = told.filter(({ stage, total }) => stage === 'publishing' && total > 1);
  assert.ok(ofPublishing[0]!.secondsLeft! > 0, 'a package has several files, of which the first is not the last');
  assert.equal(ofPublishing.at(-1)!.secondsLeft, 0);
  assert.ok(stored.length > 0);
  for (const { stage, done, total, seconds_left } of stored) {
    assert.ok(typeof stage === 'string' && done <= total);
    assert.ok(seconds_left === null || seconds_left >= 0);
  }
  assert.equal((await read(id)).progress, null, 'of a round that has ended there is none');
});

test('a trainer says that it is there', async () => {
  await db.delete(heartbeats);
  const trainer = await startTrainer(settings, server.databaseUrl, () => {});
  after(() => trainer.close());
  await waitUntil(async () => (await db.$count(heartbeats, eq(heartbeats.name, 'trainer'))) === 1);
  const { trainer_seen_at: seenAt } = (await server.request('/v1/loop')).body;
  assert.ok(Math.abs(seenAt - Date.now() / 1000) < 60);
  assert.equal((await db.select().from(rounds).where(eq(rounds.status, 'running'))).length, 0);
});
