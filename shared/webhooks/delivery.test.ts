import assert from 'node:assert/strict';
import { beforeEach, mock, test } from 'node:test';
import { eq, sql } from 'drizzle-orm';
import { openTestDatabase } from '../../testing/database.ts';
import { WebhookReceiver } from '../../testing/webhook-receiver.ts';
import { webhook_events } from '../database/schema.ts';
import { readSettings } from '../settings.ts';
import {
  claimDueEvents,
  claimEvent,
  deliverEvent,
  listDueEvents,
  RETRY_DELAYS_S,
  readWebhookTarget,
} from './delivery.ts';
import { writeEvent } from './event.ts';

const { db } = await openTestDatabase();
const receiver = await new WebhookReceiver().open();
const target = readWebhookTarget(receiver.settings)!;

beforeEach(async () => {
  await db.delete(webhook_events);
  receiver.received.length = 0;
  receiver.respond = (response) => response.writeHead(204).end();
});

async function write(data: Record<string, unknown> = { id: 'pol_a' }): Promise<string> {
  await db.transaction((transaction) => writeEvent(transaction, 'policy.activated', data));
  const [row] = await db.select().from(webhook_events).orderBy(sql`id desc`).limit(1);
  return row!.id;
}

const read = async (id: string) => (await db.select().from(webhook_events).where(eq(webhook_events.id, id)))[0]!;
const makeDue = (id: string) => db.update(webhook_events).set({ next_at: sql`now()` }).where(eq(webhook_events.id, id));
const deliver = async (id: string) => deliverEvent(db, target, (await claimEvent(db, id))!);

test('an event arrives signed, with its id, type, time and data', async () => {
  const data = { id: 'pol_a', reason: 'Grüße, "promoted"', previous: null };
  const id = await write(data);
  assert.deepEqual(await listDueEvents(db, 10), [id]);
  assert.equal(await deliver(id), null);
  const [received] = receiver.received;
  const row = await read(id);
  assert.deepEqual(received!.body, { type: 'policy.activated', timestamp: row.created_at.toISOString(), data });
  assert.equal(received!.id, id);
  assert.match(id, /^evt_/);
  assert.ok(Math.abs(received!.timestamp - Date.now() / 1000) < 5);
  assert.ok(row.delivered_at && !row.given_up_at);
  assert.deepEqual(receiver.rejected, []);
  assert.equal(await claimEvent(db, id), null);
  assert.deepEqual(await listDueEvents(db, 10), []);
});

for (const [name, status, location] of [
  ['an error response', 500, null],
  ['a redirect', 307, '/elsewhere'],
] as const)
  test(`${name} is a failure: the event is sent again with the same id after a growing delay`, async () => {
    receiver.respond = (response) => response.writeHead(status, location ? { location } : {}).end();
    const id = await write();
    assert.equal(await deliver(id), 5);
    assert.equal(await claimEvent(db, id), null);
    await makeDue(id);
    assert.equal(await deliver(id), 30);
    const row = await read(id);
    assert.equal(row.last_error, `the receiver responded with ${status}`);
    assert.ok(Math.abs(row.next_at.getTime() - Date.now() - 30_000) < 5000);
    receiver.respond = (response) => response.writeHead(200).end('thanks');
    await makeDue(id);
    assert.equal(await deliver(id), null);
    assert.deepEqual(
      receiver.received.map((received) => received.id),
      [id, id, id],
    );
    assert.ok((await read(id)).delivered_at);
  });

test('a receiver that does not respond times out after ten seconds', { timeout: 20_000 }, async () => {
  receiver.respond = () => {};
  const id = await write();
  const startMs = performance.now();
  assert.equal(await deliver(id), 5);
  const elapsedMs = performance.now() - startMs;
  assert.ok(elapsedMs > 9500 && elapsedMs < 15_000, `${elapsedMs} ms`);
  assert.equal((await read(id)).last_error, 'no response within 10 s');
});

test('a receiver that was down gets the event when it is back', async () => {
  await receiver.close();
  const id = await write();
  assert.equal(await deliver(id), 5);
  assert.match((await read(id)).last_error!, /ECONNREFUSED/);
  await receiver.open();
  await makeDue(id);
  assert.equal(await deliver(id), null);
  assert.equal(receiver.received[0]!.id, id);
});

test('delivery stops after 22 hours, which the row and the log show', async () => {
  receiver.respond = (response) => response.writeHead(503).end();
  const log = mock.method(console, 'error', () => {});
  const id = await write();
  for (const delay of RETRY_DELAYS_S) {
    assert.equal(await deliver(id), delay);
    await makeDue(id);
  }
  assert.equal(await deliver(id), null);
  log.mock.restore();
  const row = await read(id);
  assert.ok(row.given_up_at && !row.delivered_at);
  assert.equal(row.last_error, 'the receiver responded with 503');
  assert.equal(receiver.received.length, RETRY_DELAYS_S.length + 1);
  assert.match(
    log.mock.calls[0]!.arguments[0],
    new RegExp(`${id} \\(policy.activated\\): giving up after 11 attempts`),
  );
  await makeDue(id);
  assert.equal(await claimEvent(db, id), null);
  const hours = RETRY_DELAYS_S.reduce((sum, delay) => sum + delay) / 3600;
  assert.ok(hours > 20 && hours < 24);
});

test('ten deliverers share the due events, each claimed once', async () => {
  const ids = [];
  for (let at = 0; at < 40; at++) ids.push(await write({ at }));
  const shares = await Promise.all(
    Array.from({ length: 10 }, async () => {
      const claimed: string[] = [];
      for (let events = await claimDueEvents(db, 3); events.length > 0; events = await claimDueEvents(db, 3))
        for (const event of events) {
          claimed.push(event.id);
          await deliverEvent(db, target, event);
        }
      return claimed;
    }),
  );
  assert.ok(shares.filter((share) => share.length > 0).length > 1);
  assert.deepEqual(shares.flat().sort(), ids.sort());
  assert.deepEqual(receiver.received.map(({ id }) => id).sort(), ids);
});

test('a deliverer whose lease expired does not overwrite the outcome of the next one', async () => {
  const id = await write();
  const slow = (await claimEvent(db, id))!;
  await makeDue(id);
  assert.equal(await deliver(id), null);
  receiver.respond = (response) => response.writeHead(500).end();
  await deliverEvent(db, target, slow);
  const row = await read(id);
  assert.ok(row.delivered_at);
  assert.equal(row.last_error, null);
});

test('WEBHOOK_URL without WEBHOOK_SECRET is an error, and without both there is no target', () => {
  assert.throws(() => readSettings({ WEBHOOK_URL: 'http://127.0.0.1' }), /WEBHOOK_SECRET is missing/);
  assert.equal(readWebhookTarget({}), null);
});
