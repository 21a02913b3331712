import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { eq, isNull, sql } from 'drizzle-orm';
import { openTestDatabase } from '../../testing/database.ts';
import { storePreference } from '../../testing/stored-rows.ts';
import { connect } from '../database/connect.ts';
import { activations, alerts, heartbeats, policies, preferences, rounds, webhook_events } from '../database/schema.ts';
import { newId } from '../id.ts';
import { checkAlerts } from './alerts.ts';

const { db, url } = await openTestDatabase();
const settings = { ALERT_NO_PAIRS_DAYS: 7, ALERT_TRAINER_MINUTES: 30 };
const ago = (seconds: number) => new Date(Date.now() - 1000 * seconds);
const DAY = 86_400;

beforeEach(async () => {
  for (const table of [webhook_events, alerts, heartbeats, rounds, preferences]) await db.delete(table);
});

const check = () => checkAlerts(db, settings);
/** As if the alert that waits to be confirmed had been noted so long ago. */
const passed = (seconds: number) =>
  db
    .update(alerts)
    .set({ since: sql`now() - ${seconds} * interval '1 second'` })
    .where(isNull(alerts.raised_at));
const confirm = async () => {
  await check();
  await passed(150);
  await check();
};
const sent = async () =>
  (await db.select().from(webhook_events).orderBy(webhook_events.id)).map(({ type, data }) => ({ type, data }));

async function addRound(values: Partial<typeof rounds.$inferInsert>): Promise<string> {
  const id = newId('round_');
  await db.insert(rounds).values({ id, trigger: 'schedule', settings: {}, ...values });
  return id;
}
const judged = (stage: 'refused' | 'active', reason = stage) =>
  addRound({
    status: 'succeeded',
    stage,
    reason,
    gate: { pass: stage === 'active', checks: [], intervals: {} },
    finished_at: new Date(),
  });

test('three refusals in a row are told once, and again after a round that passed', async () => {
  const first = await judged('refused');
  const second = await judged('refused');
  await check();
  assert.deepEqual(await sent(), []);
  // Neither says anything about the gate.
  await addRound({ status: 'failed', stage: 'failed' });
  await addRound({ status: 'succeeded', stage: 'previewed', dry_run: true });
  const third = await judged('refused', 'not better' as 'refused');
  await check();
  const told = [{ type: 'gate.refused_repeatedly', data: { rounds: [first, second, third], reason: 'not better' } }];
  assert.deepEqual(await sent(), told);
  await judged('refused');
  await check();
  assert.deepEqual(await sent(), told);
  await judged('active');
  await check();
  assert.equal(await db.$count(alerts), 0);
  for (let at = 0; at < 3; at++) await judged('refused');
  await check();
  assert.equal((await sent()).length, 2);
});

test('pairs that have stopped are told once, and again after new ones have stopped', async () => {
  await check();
  assert.deepEqual(await sent(), [], 'nothing was ever active');
  const id = await storePreference(db, 'old', { created_at: ago(8 * DAY) });
  await storePreference(db, 'a tie is no pair', { choice: 'tie' });
  await check();
  await check();
  const [event, ...others] = await sent();
  assert.deepEqual(others, []);
  assert.equal(event!.type, 'pairs.none_new');
  const [{ at }] = (await db
    .select({ at: preferences.created_at })
    .from(preferences)
    .where(eq(preferences.id, id))) as [{ at: Date }];
  assert.deepEqual(event!.data, { days: 7, last_pair_at: at.toISOString() });
  const fresh = await storePreference(db, 'new');
  await check();
  assert.equal(await db.$count(alerts), 0);
  await db
    .update(preferences)
    .set({ created_at: ago(7 * DAY + 60) })
    .where(eq(preferences.id, fresh));
  await check();
  assert.equal((await sent()).length, 2);
});

test('where there never was a pair, the time counts from the first active policy', async () => {
  await db.insert(policies).values({ id: 'pol_a', name: 'a', manifest: {} });
  await db.insert(activations).values({ policy_id: 'pol_a', reason: 'test', created_at: ago(8 * DAY) });
  await check();
  assert.deepEqual(await sent(), [{ type: 'pairs.none_new', data: { days: 7, last_pair_at: null } }]);
  await db.delete(activations);
});

test('a trainer is missed while a round waits, and not before it has waited that long', async () => {
  const seen = (seconds: number) =>
    db
      .insert(heartbeats)
      .values({ name: 'trainer', seen_at: ago(seconds) })
      .onConflictDoUpdate({ target: heartbeats.name, set: { seen_at: ago(seconds) } });
  await seen(3600);
  await check();
  assert.deepEqual(await sent(), [], 'nothing waits');
  const round = await addRound({ created_at: ago(60) });
  await check();
  assert.deepEqual(await sent(), [], 'it has just been requested');
  await db.update(rounds).set({ created_at: ago(1900) });
  await seen(60);
  await check();
  assert.deepEqual(await sent(), [], 'a trainer is there');
  await seen(1860);
  await check();
  await check();
  assert.deepEqual(await sent(), [], 'it is told if it is found again');
  await confirm();
  const [event] = await sent();
  assert.equal(event!.type, 'trainer.missing');
  assert.deepEqual({ ...event!.data, seen_at: null }, { minutes: 30, seen_at: null, round });
  assert.ok(event!.data.seen_at);
  await seen(0);
  await check();
  assert.deepEqual([(await sent()).length, await db.$count(alerts)], [1, 0]);
  await db.delete(heartbeats);
  await confirm();
  await confirm();
  assert.equal((await sent()).length, 2, 'a trainer that was never seen is missed too');
});

test('a server that was off or asleep for a day misses no trainer that starts with it', async () => {
  const seen = async (seconds: number) => {
    await db.delete(heartbeats);
    await db.insert(heartbeats).values({ name: 'trainer', seen_at: ago(seconds) });
  };
  await addRound({ created_at: ago(DAY) });
  await seen(DAY);
  await check();
  await seen(0);
  await check();
  assert.deepEqual([await sent(), await db.$count(alerts)], [[], 0]);
  // Noted, then off: what was found a day ago is no second look.
  await seen(2 * DAY);
  await check();
  await passed(DAY);
  await check();
  await check();
  assert.deepEqual(await sent(), []);
  await confirm();
  assert.equal((await sent()).length, 1);
});

test('ten checkers at once send one event of each', async () => {
  for (let at = 0; at < 3; at++) await judged('refused');
  await addRound({ created_at: ago(1900) });
  await storePreference(db, 'old', { created_at: ago(8 * DAY) });
  const connections = Array.from({ length: 10 }, () => connect(url, { max: 1 }));
  await Promise.all(connections.map((connection) => checkAlerts(connection.db, settings)));
  await passed(150);
  await Promise.all(connections.map((connection) => checkAlerts(connection.db, settings)));
  await Promise.all(connections.map((connection) => connection.close()));
  assert.deepEqual((await sent()).map(({ type }) => type).sort(), [
    'gate.refused_repeatedly',
    'pairs.none_new',
    'trainer.missing',
  ]);
  assert.equal(await db.$count(alerts, sql`raised_at is not null`), 3);
});
