import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eq } from 'drizzle-orm';
import { openTestDatabase } from '../../testing/database.ts';
import { connect } from '../database/connect.ts';
import { preferences, rounds } from '../database/schema.ts';
import { newId } from '../id.ts';
import { countNewPairs } from './pairs.ts';
import { requestRoundIfDue } from './schedule.ts';

const { db, url } = await openTestDatabase();
const settings = { TRAIN_MIN_PAIRS: 10 };

async function collect(count: number, choice: 'a' | 'tie' = 'a'): Promise<void> {
  const rows = Array.from({ length: count }, () => {
    const id = newId('pref_');
    return {
      id,
      source: 'raw',
      choice,
      rater: 'x',
      prompt: id,
      chosen: 'yes',
      rejected: 'no',
      content_hash: id,
    } as const;
  });
  await db.insert(preferences).values(rows);
}

/** Simulates ten processes whose schedules tick at the same time. */
async function tickTenTimes(): Promise<void> {
  const connections = Array.from({ length: 10 }, () => connect(url, { max: 2 }));
  // Connected before, so that all ticks are concurrent.
  await Promise.all(connections.map(({ sql }) => sql`select 1`));
  await Promise.all(connections.map((connection) => requestRoundIfDue(connection.db, settings)));
  await Promise.all(connections.map((connection) => connection.close()));
}

test('a round is due when enough new pairs exist, and ten concurrent ticks queue one', async () => {
  await collect(9);
  await collect(5, 'tie');
  assert.equal(await countNewPairs(db), 9);
  await tickTenTimes();
  assert.equal(await db.$count(rounds), 0);
  await collect(1);
  await tickTenTimes();
  const queued = await db.select().from(rounds);
  assert.deepEqual(
    queued.map(({ trigger, status }) => [trigger, status]),
    [['schedule', 'queued']],
  );
});

test('no round is queued while one is queued or running, or after one failed on the same pairs', async () => {
  const setStatus = (status: 'running' | 'failed') => db.update(rounds).set({ status });
  await setStatus('running');
  await tickTenTimes();
  assert.equal(await db.$count(rounds), 1);
  await setStatus('failed');
  await tickTenTimes();
  assert.equal(await db.$count(rounds), 1);
  await collect(1);
  await tickTenTimes();
  assert.equal(await db.$count(rounds), 2);
  assert.equal(await db.$count(rounds, eq(rounds.status, 'queued')), 1);
});
