// Erasures, retention, votes and rounds at the same moment, each held open where it matters.

import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { eq, isNull, sql } from 'drizzle-orm';
import { connect, type Database } from '../shared/database/connect.ts';
import {
  completions,
  new_pairs,
  preference_counts,
  preferences,
  round_events,
  round_pairs,
} from '../shared/database/schema.ts';
import { erase } from '../shared/erasure/erase.ts';
import { applyRetention } from '../shared/erasure/retention.ts';
import { changeVote, retractVote } from '../shared/erasure/revise.ts';
import { findSubject } from '../shared/erasure/subject.ts';
import { requestRound } from '../shared/rounds/schedule.ts';
import { type Json, startEdgeServer } from '../testing/edge-server.ts';
import { pauseIn } from '../testing/pause-round.ts';
import { listTablesWith } from '../testing/stored-rows.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { lockPairs } from '../trainer/data/lock-pairs.ts';
import { runNextRound } from '../trainer/main.ts';

const server = await startEdgeServer({ TRAIN_THREADS: '1', TRAIN_MEMORY: String(2 ** 30), BATCH_PAIRS: '8' });
const { connection, settings, localStore, databaseUrl } = server;
const { db } = connection;
const OWNER = { tenant: 'default', created_by: 'anonymous' };

const post = async (path: string, json: unknown): Promise<Json> => (await server.request(path, { json })).body;
const compare = () => post('/v1/comparisons', { prompt: 'Once', max_tokens: 2 });
const chat = () => post('/v1/chat/completions', { messages: [{ role: 'user', content: 'Once' }], max_tokens: 2 });
const vote = (comparison: string, rater: string) =>
  server.request('/v1/preferences', { json: { comparison, choice: 'a', rater } });
const giveText = async (name: string) =>
  (await post('/v1/preferences', { prompt: `${name}:`, chosen: ' yes yes', rejected: ' no no' })).id as string;
const eraseOne = (transaction: Database, kind: 'comparison' | 'preference', id: string) =>
  findSubject(transaction, kind, id, '').then((subject) => erase(transaction, subject, 'test'));

const releases: (() => void)[] = [];
afterEach(() => {
  for (const release of releases.splice(0)) release();
});

/** Runs `work` in a transaction that is open until the returned function is called. */
async function hold<T>(work: (transaction: Database) => Promise<T>): Promise<() => Promise<T>> {
  const own = connect(databaseUrl, { name: 'holder', max: 1 });
  const begun = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  const result = own.db.transaction(async (transaction) => {
    const value = await work(transaction);
    begun.resolve();
    await released.promise;
    return value;
  });
  result.catch(begun.reject);
  releases.push(released.resolve);
  await begun.promise;
  return async () => {
    released.resolve();
    return result.finally(() => own.close());
  };
}

const isWaiting = (count = 1) =>
  waitUntil(async () => {
    const [row] = await connection.sql`select count(*)::int n from pg_stat_activity where wait_event_type = 'Lock'`;
    return row!.n >= count;
  });

/** A vote that has inserted its row and cannot commit yet: its trigger waits for the totals. */
async function holdVote(comparison: string, rater: string) {
  const release = await hold((transaction) =>
    transaction.execute(sql`lock table ${preference_counts} in exclusive mode`),
  );
  const voted = vote(comparison, rater);
  await isWaiting();
  return { release, voted };
}

test('an erasure waits for a vote that is being stored, and erases it too', async () => {
  const { id } = await compare();
  const { release, voted } = await holdVote(id, 'early');
  const erased = db.transaction((transaction) => eraseOne(transaction, 'comparison', id));
  await isWaiting(2);
  await release();
  assert.equal((await voted).status, 200);
  assert.deepEqual((await erased).counts, { completions: 1, comparisons: 1, preferences: 1, feedback: 0 });
  assert.deepEqual(await listTablesWith(db, 'user:early'), []);
});

test('an erasure waits for feedback that is being stored, and erases it too; feedback that comes later finds nothing', async () => {
  const { id: generation } = await chat();
  const give = (text: string) => server.request('/v1/feedback', { json: { generation, demonstration: text } });
  const eraseGeneration = async (transaction: Database) =>
    erase(transaction, await findSubject(transaction, 'generation', generation, ''), 'test');
  const releaseTotals = await hold((transaction) =>
    transaction.execute(sql`lock table ${preference_counts} in exclusive mode`),
  );
  const early = give('said early');
  await isWaiting();
  const release = hold(eraseGeneration);
  await isWaiting(2);
  await releaseTotals();
  assert.equal((await early).status, 200);
  const releaseErasure = await release;
  const late = give('said late');
  await isWaiting();
  const { counts } = await releaseErasure();
  assert.deepEqual(counts, { completions: 1, comparisons: 0, preferences: 1, feedback: 1 });
  assert.equal((await late).status, 404);
  for (const text of ['said early', 'said late']) assert.deepEqual(await listTablesWith(db, text), []);
});

test('changing feedback and erasing its rater at once never wait for each other', async () => {
  const { id: generation } = await chat();
  for (let round = 0; round < 5; round++) {
    const give = (text: string) =>
      server.request('/v1/feedback', { json: { generation, demonstration: text, rater: 'racer' } });
    await give(`first ${round}`);
    const [, ...changes] = await Promise.all([
      db.transaction(async (transaction) =>
        erase(transaction, await findSubject(transaction, 'user', 'racer', 'default'), 'test'),
      ),
      give(`second ${round}`),
      give(`third ${round}`),
    ]);
    assert.deepEqual(
      changes.map(({ status }) => status),
      [200, 200],
    );
  }
  await db.transaction(async (transaction) =>
    erase(transaction, await findSubject(transaction, 'generation', generation, ''), 'test'),
  );
});

test('a vote waits for an erasure of what it is about, and finds nothing', async () => {
  const { id } = await compare();
  const release = await hold((transaction) => eraseOne(transaction, 'comparison', id));
  const voted = vote(id, 'late');
  await isWaiting();
  await release();
  assert.equal((await voted).status, 404);
  assert.deepEqual(await listTablesWith(db, 'user:late'), []);
});

test('a vote that is changed while it is being erased is erased in its new form', async () => {
  const { id } = await compare();
  const { id: preference } = (await vote(id, 'undecided')).body;
  const release = await hold((transaction) => changeVote(transaction, preference, { choice: 'b' }, OWNER));
  const erased = db.transaction((transaction) => eraseOne(transaction, 'comparison', id));
  await isWaiting();
  await release();
  assert.equal((await erased).counts.preferences, 1);
  const [row] = await db.select().from(preferences).where(eq(preferences.id, preference));
  assert.deepEqual([row!.choice, row!.rater, row!.chosen], ['b', `erased:${preference}`, '']);
});

test('retention waits for a vote that is being stored, and keeps what it is about; a later vote finds nothing', async () => {
  const [kept, gone] = [await compare(), await compare()];
  const old = { RETENTION_DAYS: -1 };
  const { release, voted } = await holdVote(kept.id, 'in time');
  const applied = applyRetention(db, old);
  await isWaiting(2);
  await release();
  assert.equal((await voted).status, 200);
  assert.ok((await applied) >= 1);
  const find = async (id: string) => (await server.request(`/v1/comparisons/${id}`)).status;
  assert.deepEqual([await find(kept.id), await find(gone.id)], [200, 404]);
  assert.equal((await vote(gone.id, 'too late')).status, 404);

  const next = await compare();
  const commit = await hold((transaction) => applyRetention(transaction, old));
  const refused = vote(next.id, 'too late');
  await isWaiting();
  // Another trainer at the same moment has nothing to do and waits for nothing.
  assert.equal(await applyRetention(db, old), 0);
  assert.equal(await commit(), 1);
  assert.equal((await refused).status, 404);
  assert.equal(await db.$count(completions, isNull(completions.erased_at)), 1);
});

test('a vote that a round is saving can no longer be retracted, and one that was retracted first is not saved', async () => {
  const read = async (id: string) => (await db.select().from(preferences).where(eq(preferences.id, id)))[0]!;
  const [used, retracted] = [await read(await giveText('used')), await read(await giveText('retracted'))];
  const { id: round } = await requestRound(db, 'api', {});
  const save = await hold(async (transaction) => {
    assert.deepEqual(await lockPairs(transaction, [used]), []);
    const row = { round_id: round, preference_id: used.id, split: 'train', replay: false } as const;
    await transaction.insert(round_pairs).values(row);
  });
  const retracting = db.transaction((transaction) => retractVote(transaction, used.id, OWNER));
  const refused = assert.rejects(retracting, {
    status: 409,
    code: 'already_used',
    message: new RegExp(`was used by ${round} `),
  });
  await isWaiting();
  await save();
  await refused;

  const commit = await hold((transaction) => retractVote(transaction, retracted.id, OWNER));
  const locked = db.transaction((transaction) => lockPairs(transaction, [used, retracted]));
  await isWaiting();
  await commit();
  assert.deepEqual(await locked, [{ id: retracted.id, isErased: false }]);
  await db.delete(round_pairs);
  await server.request(`/v1/rounds/${round}/cancel`, { method: 'POST' });
});

/** A vote on a comparison of two texts that differ, since equal ones make no pair. */
async function giveVote(rater: string): Promise<string> {
  while (true) {
    const { id, a, b } = await compare();
    if (a.text !== b.text) return (await vote(id, rater)).body.id;
  }
}
const changeTo = (id: string, choice: string) => server.request(`/v1/preferences/${id}`, { json: { choice } });
async function readRound(id: string) {
  const { body } = await server.request(`/v1/rounds/${id}`);
  const used = await db.select().from(round_pairs).where(eq(round_pairs.round_id, id));
  const events = await db.select().from(round_events).where(eq(round_events.round_id, id));
  const repeats = events.map(({ message }) => message).filter((message) => message.includes('; selecting again'));
  return { body, used: new Set(used.map(({ preference_id }) => preference_id)), repeats };
}

test('a round trains on no pair that was erased while it was selecting, nor on any of who changed or retracted one', async () => {
  for (let at = 0; at < 60; at++) await giveText(`Pair ${at}`);
  const names = ['changed', 'retracted', 'erased'];
  const [changed, retracted, erased] = (await Promise.all(names.map(giveVote))) as [string, string, string];
  const others = await Promise.all(names.map(giveVote));
  const { id } = await requestRound(db, 'api', {});
  const { trainer, onProgress } = pauseIn({ settings, store: localStore }, 'selecting', async () => {
    assert.equal((await changeTo(changed, 'b')).status, 200);
    await db.transaction((transaction) => retractVote(transaction, retracted, OWNER));
    await db.transaction((transaction) => eraseOne(transaction, 'preference', erased));
  });
  await runNextRound(connection, trainer, onProgress);
  const { body, used, repeats } = await readRound(id);
  assert.equal(body.status, 'succeeded', body.reason);
  assert.deepEqual(
    [changed, retracted, erased, ...others].map((each) => used.has(each)),
    [false, false, false, false, false, true],
  );
  assert.deepEqual(repeats, [
    'some of the pairs were changed, retracted or erased meanwhile; selecting again, and leaving 4 pairs, all of 2 raters who changed or retracted votes, for a later round',
  ]);
  const left = await db.select().from(new_pairs);
  assert.deepEqual(left.map(({ preference_id }) => preference_id).sort(), [changed, ...others.slice(0, 2)].sort());
  assert.equal((await changeTo(changed, 'a')).status, 200);
});

test('a rater who keeps changing a vote does not keep a round from selecting', async () => {
  for (let at = 0; at < 60; at++) await giveText(`Another pair ${at}`);
  const [restless, calm] = [await giveVote('restless'), await giveVote('calm')];
  const { id } = await requestRound(db, 'api', {});
  let [stage, changes] = ['queued', 0];
  const getFolder = async (policy: string) => {
    // More often than any round that is not kept from it selects.
    if (stage === 'selecting' && changes < 10) {
      changes++;
      assert.equal((await changeTo(restless, changes % 2 === 1 ? 'b' : 'a')).status, 200);
    }
    return localStore.getFolder(policy);
  };
  const trainer = { settings, store: { ...localStore, getFolder } };
  await runNextRound(connection, trainer, (_round, progress) => {
    stage = progress.stage;
  });
  const { body, used, repeats } = await readRound(id);
  assert.equal(body.status, 'succeeded', body.reason);
  assert.deepEqual([used.has(restless), used.has(calm), repeats.length], [false, true, 1]);
});
