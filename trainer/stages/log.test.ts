import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eq, sql } from 'drizzle-orm';
import { canaries, round_events, round_metrics, rounds, webhook_events } from '../../shared/database/schema.ts';
import { newId } from '../../shared/id.ts';
import { registerPolicy } from '../../shared/store/registry.ts';
import { openTestDatabase } from '../../testing/database.ts';
import { InterruptedError, RoundLog } from './log.ts';

const { db } = await openTestDatabase();

const stop = new AbortController();
const openLog = (id: string, owner: string, { signal } = stop) => new RoundLog(db, { id, owner }, signal, () => {});

async function startRound(): Promise<RoundLog> {
  const id = newId('round_');
  await db.delete(webhook_events);
  await db.update(rounds).set({ status: 'failed' });
  await db.insert(rounds).values({ id, status: 'running', owner: 'one', attempts: 1, trigger: 'api', settings: {} });
  return openLog(id, 'one');
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
    reward: null,
    metrics: { 'rewards/accuracies': 0.75 },
    reason: 'it is better',
  };
  assert.deepEqual(await webhookEvents(), [{ type: 'round.succeeded', data }]);
  assert.equal(await statusOf(log), 'succeeded');
});

test('a round that fails writes a webhook event with its reason', async () => {
  const log = await startRound();
  await log.finish('failed', 'there are too few pairs');
  const data = { id: log.roundId, policy: null, reward: null, metrics: null, reason: 'there are too few pairs' };
  assert.deepEqual(await webhookEvents(), [{ type: 'round.failed', data }]);
});

test('a round that another trainer has ended writes one webhook event', async () => {
  const log = await startRound();
  await log.finish('failed', 'first');
  await assert.rejects(log.finish('active'), InterruptedError);
  assert.equal((await webhookEvents()).length, 1);
});

test('a policy of the round is tried or promoted by others while the round is written, which waits for neither', async () => {
  const log = await startRound();
  for (const id of ['pol_old', 'pol_new']) await registerPolicy(db, { id, name: id, manifest: {} });
  await log.write(async () => {
    await db.transaction(async (other) => {
      await other.execute(sql`set local lock_timeout = 5000`);
      const pair = { policy_id: 'pol_new', baseline_id: 'pol_old', round_id: log.roundId, created_by: 'key_a' };
      await other.insert(canaries).values({ id: newId('canary_'), state: 'cancelled', share: 0.1, ...pair });
    });
  });
  assert.equal(await db.$count(canaries, eq(canaries.round_id, log.roundId)), 1);
});

test('a round does not end if its webhook event cannot be written', async () => {
  const log = await startRound();
  await db.execute('alter table webhook_events rename to elsewhere');
  await assert.rejects(log.finish('active'));
  await db.execute('alter table elsewhere rename to webhook_events');
  assert.equal(await statusOf(log), 'running');
  assert.equal(await db.$count(round_events, eq(round_events.round_id, log.roundId)), 0);
  await log.finish('active');
  assert.equal((await webhookEvents()).length, 1);
});

/** Everything that a trainer writes. */
const writes: Record<string, (log: RoundLog) => Promise<unknown>> = {
  stage: (log) => log.enterStage('training', 'training'),
  changes: (log) => log.update({ reason: 'late' }),
  event: (log) => log.addEvent('message', 'late'),
  metrics: (log) => log.addMetrics(1, 'train', { loss: 1 }),
  end: (log) => log.finish('active', 'late'),
  other: (log) => log.write((transaction) => transaction.delete(round_events)),
};

test('a trainer whose round has another owner writes nothing', async () => {
  const log = await startRound();
  await log.addEvent('message', 'in time');
  await db.update(rounds).set({ owner: 'two' }).where(eq(rounds.id, log.roundId));
  const before = await db.select().from(rounds).where(eq(rounds.id, log.roundId));
  for (const [name, write] of Object.entries(writes)) await assert.rejects(write(log), InterruptedError, name);
  await log.release('late');
  assert.deepEqual(await db.select().from(rounds).where(eq(rounds.id, log.roundId)), before);
  assert.equal(await db.$count(round_events, eq(round_events.round_id, log.roundId)), 1);
  assert.equal(await db.$count(round_metrics, eq(round_metrics.round_id, log.roundId)), 0);
  await openLog(log.roundId, 'two').finish('active');
});

test('a trainer that was stopped writes nothing, and gives the round back without counting the attempt', async () => {
  const { roundId } = await startRound();
  const stopped = new AbortController();
  const log = openLog(roundId, 'one', stopped);
  stopped.abort(new Error('SIGTERM'));
  for (const [name, write] of Object.entries(writes)) await assert.rejects(write(log), InterruptedError, name);
  assert.throws(() => log.reportProgress('training', 1, 2, ''), InterruptedError);
  await log.release('SIGTERM');
  const [row] = await db.select().from(rounds).where(eq(rounds.id, roundId));
  assert.deepEqual([row!.status, row!.owner, row!.attempts], ['running', null, 0]);
  const events = await db.select().from(round_events).where(eq(round_events.round_id, roundId));
  assert.deepEqual(
    events.map(({ message }) => message),
    ['stopped while queued: SIGTERM'],
  );
});

test('a claim waits for the transaction of the earlier owner, and nothing is written after it', async () => {
  const log = await startRound();
  let claimed: Promise<unknown> = Promise.resolve();
  await log.write(async (transaction) => {
    claimed = Promise.resolve(db.update(rounds).set({ owner: 'two' }).where(eq(rounds.id, log.roundId)));
    await transaction.execute('select pg_sleep(0.2)');
    await transaction.update(rounds).set({ reason: 'in time' }).where(eq(rounds.id, log.roundId));
  });
  await claimed;
  await assert.rejects(log.update({ reason: 'late' }), InterruptedError);
  const [row] = await db.select().from(rounds).where(eq(rounds.id, log.roundId));
  assert.deepEqual([row!.owner, row!.reason], ['two', 'in time']);
});
