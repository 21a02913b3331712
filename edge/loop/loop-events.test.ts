import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eq, sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/postgres-js';
import * as schema from '../../shared/database/schema.ts';
import { requestRound } from '../../shared/rounds/schedule.ts';
import { readSettings } from '../../shared/settings.ts';
import { openTestDatabase } from '../../testing/database.ts';
import { storePreference } from '../../testing/stored-rows.ts';
import { waitUntil } from '../../testing/wait-until.ts';
import { toLoopState } from '../routes/loop-response.ts';
import { LoopEvents } from './loop-events.ts';
import { LoopReader, type LoopSnapshot } from './read-loop.ts';

const connection = await openTestDatabase();
const { db } = connection;
const settings = readSettings({});

/** `queries` are those that the followers cause. */
function open(retryMs?: number) {
  const queries: string[] = [];
  const logger = { logQuery: (query: string) => queries.push(query) };
  const logged = drizzle(connection.sql, { schema, logger });
  return { queries, events: new LoopEvents(new LoopReader(logged, settings, () => null), retryMs) };
}

function follow(events: LoopEvents, readable: string | null = null, render = toLoopState) {
  const abort = new AbortController();
  const told: ReturnType<typeof toLoopState>[] = [];
  const follower = { readable, render, findRefusal: async () => null, signal: abort.signal };
  const done = events.follow(follower, (state) => told.push(state as never));
  return { told, done, abort };
}

test('fifty readers are told the state once and each change once, by one poll for all', async () => {
  const { events, queries } = open();
  const readers = Array.from({ length: 50 }, () => follow(events));
  await waitUntil(() => readers.every(({ told }) => told.length === 1));
  assert.equal(readers[0]!.told[0]!.round, null);
  const { length: ofOnePoll } = queries;
  assert.ok(ofOnePoll < 30, `${ofOnePoll} queries`);
  const { id } = await requestRound(db, 'api', {});
  await waitUntil(() => readers.every(({ told }) => told.at(-1)!.round?.id === id));
  const { length: before } = queries;
  const late = Array.from({ length: 50 }, () => follow(events));
  await waitUntil(() => late.every(({ told }) => told.length > 0));
  assert.ok(queries.length - before <= 3 * ofOnePoll, 'a crowd that joins asks no more often');
  assert.deepEqual(late[0]!.told[0], readers[0]!.told.at(-1));
  for (const { told } of readers) {
    const texts = told.map((state) => JSON.stringify(state));
    assert.equal(new Set(texts).size, texts.length, 'nothing is told twice');
  }
  for (const { abort, done } of [...readers, ...late]) {
    abort.abort();
    await done;
  }
});

test('a reader that has left is told nothing more, and without readers nothing is asked', async () => {
  const { events, queries } = open();
  const gone = follow(events);
  const stays = follow(events);
  await waitUntil(() => gone.told.length === 1 && stays.told.length === 1);
  gone.abort.abort();
  await gone.done;
  await requestRound(db, 'api', {});
  await db
    .update(schema.rounds)
    .set({ status: 'running' })
    .where(sql`id = (select min(id) from rounds where status = 'queued')`);
  await waitUntil(() => stays.told.length > 1);
  assert.equal(gone.told.length, 1);
  stays.abort.abort();
  await stays.done;
  await new Promise((resolve) => setTimeout(resolve, 1500));
  const { length } = queries;
  await new Promise((resolve) => setTimeout(resolve, 1500));
  assert.equal(queries.length, length);
});

test('readers of different tenants are told of their own raters only', async () => {
  const origins = {
    sources: {},
    trust: {},
    rater_count: 2,
    raters: ['here', 'there'].map((tenant) => ({
      tenant,
      rater: `user:${tenant}`,
      pairs: 1,
      capped: 0,
      disagreement: null,
    })),
    capped_keys: [],
  };
  await db
    .update(schema.rounds)
    .set({ origins: origins as never })
    .where(eq(schema.rounds.status, 'running'));
  const { events } = open();
  const readers = (['here', 'there', null] as const).map((readable) => follow(events, readable));
  await waitUntil(() => readers.every(({ told }) => told.length > 0));
  assert.deepEqual(
    readers.map(({ told }) => told[0]!.round!.origins!.raters.map(({ tenant }) => tenant)),
    [['here'], ['there'], ['here', 'there']],
  );
  for (const { abort, done } of readers) {
    abort.abort();
    await done;
  }
});

test('votes are counted by their source and their time, and not imports or given texts', async () => {
  const reader = new LoopReader(db, settings, () => null);
  const { votes } = await reader.read();
  await storePreference(db, 'imported', { source: 'import' });
  await storePreference(db, 'given', { source: 'raw' });
  await storePreference(db, 'now', { source: 'generations' });
  const hourMs = 3_600_000;
  const idAt = (timeMs: number) => `pref_${timeMs.toString(16).padStart(12, '0')}${'7'.repeat(20)}`;
  await storePreference(db, 'this day', { source: 'generations', id: idAt(Date.now() - 2 * hourMs) });
  await storePreference(db, 'long ago', { source: 'generations', id: idAt(Date.now() - 48 * hourMs) });
  const fresh = (await new LoopReader(db, settings, () => null).read()).votes;
  assert.deepEqual(fresh, { last_hour: votes.last_hour + 1, last_day: votes.last_day + 2, total: votes.total + 3 });
});

test('readers get the error when reading has failed for too long', async () => {
  const events = new LoopEvents({ read: (): Promise<LoopSnapshot> => Promise.reject(new Error('away')) }, 0);
  await assert.rejects(follow(events).done, /away/);
});
