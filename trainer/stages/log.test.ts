import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eq } from 'drizzle-orm';
import { round_events, rounds, webhook_events } from '../../shared/database/schema.ts';
import { newId } from '../../shared/id.ts';
import { openTestDatabase } from '../../testing/database.ts';
import { RoundRecord } from './log.ts';

const { db } = await openTestDatabase();

async function begin(): Promise<RoundRecord> {
  const id = newId('round_');
  await db.delete(webhook_events);
  await db.insert(rounds).values({ id, status: 'running', trigger: 'api', settings: {} });
  return new RoundRecord(db, id, () => {});
}
const statusOf = async ({ roundId }: RoundRecord) =>
  (await db.select().from(rounds).where(eq(rounds.id, roundId)))[0]!.status;
const told = async () => (await db.select().from(webhook_events)).map(({ type, data }) => ({ type, data }));

test('the end of a round is told with what it published and measured', async () => {
  const record = await begin();
  await record.change({ policy_id: 'pol_new', metrics: { 'rewards/accuracies': 0.75 } });
  assert.deepEqual(await told(), []);
  await record.finish('succeeded', 'active', { reason: 'it is better' });
  const data = {
    id: record.roundId,
    policy: 'pol_new',
    metrics: { 'rewards/accuracies': 0.75 },
    reason: 'it is better',
  };
  assert.deepEqual(await told(), [{ type: 'round.succeeded', data }]);
  assert.equal(await statusOf(record), 'succeeded');
});

test('a failure is told with its reason', async () => {
  const record = await begin();
  await record.finish('failed', 'failed', { reason: 'there are too few pairs' });
  const data = { id: record.roundId, policy: null, metrics: null, reason: 'there are too few pairs' };
  assert.deepEqual(await told(), [{ type: 'round.failed', data }]);
});

test('a round that another trainer has ended is told once, by that one', async () => {
  const record = await begin();
  await record.finish('failed', 'failed', { reason: 'first' });
  await assert.rejects(record.finish('succeeded', 'active', {}), /is no longer running/);
  assert.equal((await told()).length, 1);
});

test('a round does not end without its event', async () => {
  const record = await begin();
  await db.execute('alter table webhook_events rename to elsewhere');
  await assert.rejects(record.finish('succeeded', 'active', {}));
  await db.execute('alter table elsewhere rename to webhook_events');
  assert.equal(await statusOf(record), 'running');
  assert.equal(await db.$count(round_events, eq(round_events.round_id, record.roundId)), 1);
  await record.finish('succeeded', 'active', {});
  assert.equal((await told()).length, 1);
});
