import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, beforeEach, test } from 'node:test';
import { eq, isNull, sql } from 'drizzle-orm';
import { openTestDatabase } from '../../testing/database.ts';
import { storePreference } from '../../testing/stored-rows.ts';
import { waitUntil } from '../../testing/wait-until.ts';
import { WebhookReceiver } from '../../testing/webhook-receiver.ts';
import { connect } from '../database/connect.ts';
import { activations, alerts, policies, rounds, webhook_events } from '../database/schema.ts';
import { newId } from '../id.ts';
import { readSettings } from '../settings.ts';
import { activatePolicy, registerPolicy } from '../store/registry.ts';
import { checkAlerts } from './alerts.ts';
import { startWebhookDelivery } from './delivery-loop.ts';

const connection = await openTestDatabase();
const { db, url } = connection;
const receiver = await new WebhookReceiver().open();
const settings = readSettings(receiver.settings);
await registerPolicy(db, { id: 'pol_a', name: 'a', manifest: {} });

beforeEach(async () => {
  await db.delete(webhook_events);
  receiver.received.length = 0;
  receiver.respond = (response) => response.writeHead(204).end();
});

const activate = (reason: string) => activatePolicy(db, 'pol_a', reason);
const row = async () => (await db.select().from(webhook_events))[0]!;

/** A deliverer with its own connections, like another process. */
async function startDeliverer(pollIntervalMs?: number) {
  const own = connect(url, { max: 3 });
  const webhooks = await startWebhookDelivery(own, settings, pollIntervalMs);
  let isOpen = true;
  const close = async () => {
    if (!isOpen) return;
    isOpen = false;
    await webhooks.close();
    await own.close();
  };
  after(close);
  return { close };
}

test('an activation is delivered at once, and so are events from before the deliverer started', async () => {
  await activate('first');
  // Woken by NOTIFY: its timer is longer than this test waits.
  const { close } = await startDeliverer(3_600_000);
  await waitUntil(() => receiver.received.length === 1);
  await activate('second');
  await waitUntil(() => receiver.received.length === 2);
  assert.deepEqual(receiver.received[1]!.body.data, { id: 'pol_a', reason: 'second', previous: 'pol_a' });
  await close();
});

test('a failed delivery is retried after five seconds', { timeout: 20_000 }, async () => {
  receiver.respond = (response) => response.writeHead(receiver.received.length === 1 ? 500 : 204).end();
  const { close } = await startDeliverer();
  await activate('once more');
  await waitUntil(async () => (await row()).delivered_at !== null, 15_000);
  assert.equal(new Set(receiver.received.map(({ id }) => id)).size, 1);
  assert.equal((await row()).attempts, 2);
  await close();
});

test('ten deliverers send each event once', async () => {
  const all = await Promise.all(Array.from({ length: 10 }, () => startDeliverer()));
  for (let at = 0; at < 50; at++) await activate(`event ${at}`);
  const open = () => db.$count(webhook_events, sql`delivered_at is null`);
  await waitUntil(async () => (await open()) === 0);
  for (const { close } of all) await close();
  assert.equal(receiver.received.length, 50);
  assert.equal(new Set(receiver.received.map(({ body }) => body.data.reason)).size, 50);
});

test('the event of a killed deliverer is sent by another with the same id', async () => {
  receiver.respond = () => {};
  await activate('killed');
  const code = `
    import { connect } from '${import.meta.resolve('../database/connect.ts')}';
    import { startWebhookDelivery } from '${import.meta.resolve('./delivery-loop.ts')}';
    await startWebhookDelivery(connect('${url}'), ${JSON.stringify(receiver.settings)});`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', code], { stdio: 'inherit' });
  await waitUntil(() => receiver.received.length === 1);
  child.kill('SIGKILL');
  await new Promise((resolve) => child.once('exit', resolve));
  const left = await row();
  assert.equal(left.delivered_at, null);
  assert.ok(left.next_at.getTime() > Date.now() + 30_000, 'the event is leased while its delivery may still run');

  receiver.respond = (response) => response.writeHead(204).end();
  await db.update(webhook_events).set({ next_at: sql`now()` });
  const { close } = await startDeliverer();
  await waitUntil(async () => (await row()).delivered_at !== null);
  assert.deepEqual(
    receiver.received.map(({ id }) => id),
    [left.id, left.id],
  );
  await close();
});

test('closing aborts a hanging delivery and leaves the event to be retried', async () => {
  receiver.respond = () => {};
  const { close } = await startDeliverer();
  await activate('hanging');
  await waitUntil(() => receiver.received.length === 1);
  const startMs = performance.now();
  await close();
  assert.ok(performance.now() - startMs < 3000);
  const left = await row();
  assert.equal(left.last_error, 'delivery was interrupted by a shutdown');
  assert.ok(left.next_at.getTime() < Date.now() + 10_000);
});

test('activating a policy does not wait for the receiver, and nothing starts without WEBHOOK_URL', async () => {
  receiver.respond = () => {};
  const { close } = await startDeliverer();
  const startMs = performance.now();
  await activate('quick');
  assert.ok(performance.now() - startMs < 2000);
  await close();
  const none = await startWebhookDelivery(connection, readSettings({}));
  await none.close();
});

test('an event is committed with its activation or not at all', async () => {
  const before = await db.$count(activations);
  // Longer than the limit of a NOTIFY payload, so that the transaction fails at its end.
  const id = `pol_${'x'.repeat(8000)}`;
  await registerPolicy(db, { id, name: 'long', manifest: {} });
  await assert.rejects(activatePolicy(db, id, 'undone'));
  await assert.rejects(activatePolicy(db, 'pol_none', 'unknown'), /there is no policy pol_none/);
  assert.equal(await db.$count(webhook_events), 0);
  await db.execute('alter table webhook_events rename to elsewhere');
  await assert.rejects(activate('without its event'));
  await db.execute('alter table elsewhere rename to webhook_events');
  assert.equal(await db.$count(activations), before);
});

test('undelivered events are removed after three days', async () => {
  await activate('old');
  await activate('older');
  await db.update(webhook_events).set({ created_at: sql`now() - interval '73 hours'` });
  await activate('new');
  const rows = await db.select().from(webhook_events);
  assert.deepEqual(
    rows.map(({ data }) => data.reason),
    ['new'],
  );
  assert.equal(await db.$count(policies, eq(policies.id, 'pol_a')), 1);
});

test('alerts reach the receiver once each, however many servers look, start again, and deliver', async () => {
  const addRound = (values: Partial<typeof rounds.$inferInsert>) =>
    db.insert(rounds).values({ id: newId('round_'), trigger: 'api', settings: {}, ...values });
  const gate = { pass: false, checks: [], intervals: {} };
  for (let at = 0; at < 3; at++) await addRound({ status: 'succeeded', stage: 'refused', reason: 'not better', gate });
  await addRound({ created_at: new Date(Date.now() - 3_600_000) });
  await storePreference(db, 'old', { created_at: new Date(Date.now() - 8 * 86_400_000) });
  const look = () => Promise.all(Array.from({ length: 5 }, () => checkAlerts(db, settings)));
  await look();
  await db.update(alerts).set({ since: sql`now() - interval '3 minutes'` }).where(isNull(alerts.raised_at));
  for (let start = 0; start < 2; start++) {
    const deliverers = await Promise.all([startDeliverer(), startDeliverer()]);
    await look();
    await waitUntil(() => receiver.received.length >= 3);
    await waitUntil(async () => (await db.$count(webhook_events, isNull(webhook_events.delivered_at))) === 0);
    for (const { close } of deliverers) await close();
  }
  assert.deepEqual(receiver.received.map(({ body }) => body.type).sort(), [
    'gate.refused_repeatedly',
    'pairs.none_new',
    'trainer.missing',
  ]);
});
