import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eq } from 'drizzle-orm';
import { round_events, rounds, webhook_events } from '../../shared/database/schema.ts';
import { newId } from '../../shared/id.ts';
import { openTestDatabase } from '../../testing/database.ts';
import { RoundLog } from './log.ts';

const { db } = await openTestDatabase();

async function startRound(): Promise<RoundLog> {
  const id = newId('round_');
  await db.delete(webhook_events);
  await db.insert(rounds).values({ id, status: 'running', trigger: 'api', settings: {} });
  return new RoundLog(db, id, () => {});
}
const statusOf = async ({ roundId }: RoundLog) =>
  (await db.select().from(rounds).where(eq(rounds.id, roundId)))[0]!.status;
const webhookEvents = async () => (await db.select().from(webhook_events)).map(({ type, data }) => ({ type, data }));

test('a round that succeeds writes a webhook event with its policy and metrics', async () => {
  const log = await startRound();
  await log.update({ policy_id: 'pol_new', metrics: { 'rewards/accuracies': 0.75 } });
  assert.deepEqual(await webhookEvents(), []);
  await log.finish('active', 'it is better');
  const data = {
    id: log.roundId,
    policy: 'pol_new',
    metrics: { 'rewards/accuracies': 0.75 },
    reason: 'it is better',
  };
  assert.deepEqual(await webhookEvents(), [{ type: 'round.succeeded', data }]);
  assert.equal(await statusOf(log), 'succeeded');
});

test('a round that fails writes a webhook event with its reason', async () => {
  const log = await startRound();
  await log.finish('failed', 'there are too few pairs');
  const data = { id: log.roundId, policy: null, metrics: null, reason: 'there are too few pairs' };
  assert.deepEqual(await webhookEvents(), [{ type: 'round.failed', data }]);
});

test('a round that another trainer has ended writes one webhook event', async () => {
  const log = await startRound();
  await log.finish('failed', 'first');
  await assert.rejects(log.finish('active'), /is no longer running/);
  assert.equal((await webhookEvents()).length, 1);
});

test('a round does not end if its webhook event cannot be written', async () => {
  const log = await startRound();
  await db.execute('alter table webhook_events rename to elsewhere');
  await assert.rejects(log.finish('active'));
  await db.execute('alter table elsewhere rename to webhook_events');
  assert.equal(await statusOf(log), 'running');
  assert.equal(await db.$count(round_events, eq(round_events.round_id, log.roundId)), 1);
  await log.finish('active');
  assert.equal((await webhookEvents()).length, 1);
});
