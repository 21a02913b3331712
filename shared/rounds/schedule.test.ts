import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eq, TransactionRollbackError } from 'drizzle-orm';
import { openTestDatabase } from '../../testing/database.ts';
import { connect } from '../database/connect.ts';
import { new_pairs, preferences, round_pairs, rounds } from '../database/schema.ts';
import { newId } from '../id.ts';
import { activatePolicy, registerPolicy } from '../store/registry.ts';
import { countNewPairs } from './pairs.ts';
import { findObstacle, type RoundRow, requestRound, requestRoundIfDue } from './schedule.ts';

const { db, url } = await openTestDatabase();
const settings = { TRAIN_MIN_PAIRS: 10, TRAIN_RETRY_SHARE: 0.5 };

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

const register = (id: string, trained: { parent_id?: string; round_id?: string } = {}) =>
  registerPolicy(db, { id, name: id, manifest: {}, ...trained });
const activate = (id: string) => activatePolicy(db, id, 'test');

/** Ends a round from this policy, as the trainer does, on all pairs that are new. */
async function endRound(parent_id: string, end: Partial<RoundRow>): Promise<string> {
  const { id } = await requestRound(db, 'api', {});
  const pairs = await db.select().from(new_pairs);
  const toRow = (pair: (typeof pairs)[number]) => ({ ...pair, round_id: id, split: 'train' as const, replay: false });
  if (pairs.length > 0) await db.insert(round_pairs).values(pairs.map(toRow));
  await db
    .update(rounds)
    .set({ parent_id, ...end })
    .where(eq(rounds.id, id));
  return id;
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
  assert.equal(await findObstacle(db, settings), 'there is no active policy');
  await register('pol_a');
  await activate('pol_a');
  await tickTenTimes();
  const queued = await db.select().from(rounds);
  assert.deepEqual(
    queued.map(({ trigger, status }) => [trigger, status]),
    [['schedule', 'queued']],
  );
});

test('at most 32 rounds wait', async () => {
  const fill = db.transaction(async (transaction) => {
    const queued = await transaction.$count(rounds, eq(rounds.status, 'queued'));
    for (let at = queued; at < 32; at++) await requestRound(transaction, 'api', {});
    await assert.rejects(requestRound(transaction, 'api', {}), { status: 409, code: 'too_many_rounds' });
    transaction.rollback();
  });
  await assert.rejects(fill, TransactionRollbackError);
});

test('no round is queued while one is queued or running', async () => {
  await db.update(rounds).set({ status: 'running' });
  await tickTenTimes();
  assert.equal(await db.$count(rounds), 1);
  assert.match((await findObstacle(db, settings))!, /^round_\w+ is running$/);
});

test('after a failed or cancelled round the schedule waits for one more pair', async () => {
  await db.update(rounds).set({ status: 'cancelled', parent_id: 'pol_a' });
  for (const status of ['failed', 'cancelled'] as const) {
    assert.match((await findObstacle(db, settings))!, /; the next one needs another pair$/);
    await collect(2, 'tie');
    assert.notEqual(await findObstacle(db, settings), null);
    await collect(1);
    assert.equal(await findObstacle(db, settings), null);
    await endRound('pol_a', { status, stage: 'failed' });
  }
});

test('the pairs of a refused round stay new, and the schedule repeats it after half as many were added', async () => {
  await collect(1);
  const before = await db.select().from(new_pairs);
  assert.equal(before.length, 13);
  const id = await endRound('pol_a', { status: 'succeeded', stage: 'refused' });
  assert.deepEqual(await db.select().from(new_pairs), before);
  await collect(6);
  await tickTenTimes();
  assert.equal(
    await findObstacle(db, settings),
    `${id} was refused on these pairs; the next one needs 7 more (TRAIN_RETRY_SHARE, 0.5 of the 13 that it used), and 6 have come`,
  );
  await collect(1);
  assert.equal(await findObstacle(db, settings), null);
  assert.match((await findObstacle(db, { ...settings, TRAIN_RETRY_SHARE: 1 }))!, /needs 13 more .* and 7 have come$/);
});

test('the pairs of a policy that is rolled back are new again, and the schedule does not repeat its round', async () => {
  const round_id = await endRound('pol_a', { status: 'succeeded', stage: 'active' });
  assert.equal(await countNewPairs(db), 20);
  await register('pol_b', { parent_id: 'pol_a', round_id });
  await activate('pol_b');
  assert.equal(await countNewPairs(db), 0);
  await activate('pol_a');
  assert.equal(await countNewPairs(db), 20);
  assert.match(
    (await findObstacle(db, settings))!,
    /was rolled back on these pairs; the next one needs 10 more .*, and 0 have come$/,
  );
  await activate('pol_b');
  await collect(10);
  assert.equal(await findObstacle(db, settings), null);
});
