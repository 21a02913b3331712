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
const becomeDue = (id: string) =>
  db.update(webhook_events).set({ next_at: sql`now()` }).where(eq(webhook_events.id, id));
const attempt = async (id: string) => deliverEvent(db, target, (await claimEvent(db, id))!);

test('an event arrives signed, with its id, type, time and data', async () => {
  const data = { id: 'pol_a', reason: 'Grüße, "promoted"', previous: null };
  const id = await write(data);
  assert.deepEqual(await listDueEvents(db, 10), [id]);
  assert.equal(await attempt(id), null);
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
  ['an error', 500, null],
  ['a redirect, which is not followed', 307, '/elsewhere'],
] as const)
  test(`${name} is no success: it is tried again under the same id after a pause that grows`, async () => {
    receiver.respond = (response) => response.writeHead(status, location ? { location } : {}).end();
    const id = await write();
    assert.equal(await attempt(id), 5);
    assert.equal(await claimEvent(db, id), null);
    await becomeDue(id);
    assert.equal(await attempt(id), 30);
    const row = await read(id);
    assert.equal(row.last_error, `the receiver responded with ${status}`);
    assert.ok(Math.abs(row.next_at.getTime() - Date.now() - 30_000) < 5000);
    receiver.respond = (response) => response.writeHead(200).end('thanks');
    await becomeDue(id);
    assert.equal(await attempt(id), null);
    assert.deepEqual(
      receiver.received.map((received) => received.id),
      [id, id, id],
    );
    assert.ok((await read(id)).delivered_at);
  });

test('a receiver that does not answer is left after ten seconds', { timeout: 20_000 }, async () => {
  receiver.respond = () => {};
  const id = await write();
  const began = performance.now();
  assert.equal(await attempt(id), 5);
  const took = performance.now() - began;
  assert.ok(took > 9500 && took < 15_000, `${took} ms`);
  assert.equal((await read(id)).last_error, 'no response within 10 s');
});

test('a receiver that is down and comes back gets what happened meanwhile', async () => {
  await receiver.close();
  const id = await write();
  assert.equal(await attempt(id), 5);
  assert.match((await read(id)).last_error!, /ECONNREFUSED/);
  await receiver.open();
  await becomeDue(id);
  assert.equal(await attempt(id), null);
  assert.equal(receiver.received[0]!.id, id);
});

test('after most of a day it is given up, which its row and the log show', async () => {
  receiver.respond = (response) => response.writeHead(503).end();
  const log = mock.method(console, 'error', () => {});
  const id = await write();
  for (const pause of RETRY_DELAYS_S) {
    assert.equal(await attempt(id), pause);
    await becomeDue(id);
  }
  assert.equal(await attempt(id), null);
  log.mock.restore();
  const row = await read(id);
  assert.ok(row.given_up_at && !row.delivered_at);
  assert.equal(row.last_error, 'the receiver responded with 503');
  assert.equal(receiver.received.length, RETRY_DELAYS_S.length + 1);
  assert.match(
    log.mock.calls[0]!.arguments[0],
    new RegExp(`${id} \\(policy.activated\\): giving up after 11 attempts`),
  );
  await becomeDue(id);
  assert.equal(await claimEvent(db, id), null);
  const hours = RETRY_DELAYS_S.reduce((sum, pause) => sum + pause) / 3600;
  assert.ok(hours > 20 && hours < 24);
});

test('ten deliverers share what is due, each event for one of them', async () => {
  const ids = [];
  for (let at = 0; at < 40; at++) ids.push(await write({ at }));
  const shares = await Promise.all(
    Array.from({ length: 10 }, async () => {
      const mine: string[] = [];
      for (let events = await claimDueEvents(db, 3); events.length > 0; events = await claimDueEvents(db, 3))
        for (const event of events) {
          mine.push(event.id);
          await deliverEvent(db, target, event);
        }
      return mine;
    }),
  );
  assert.ok(shares.filter((share) => share.length > 0).length > 1);
  assert.deepEqual(shares.flat().sort(), ids.sort());
  assert.deepEqual(receiver.received.map(({ id }) => id).sort(), ids);
});

test('one that was slower than its minute does not undo what another has done since', async () => {
  const id = await write();
  const slow = (await claimEvent(db, id))!;
  await becomeDue(id);
  assert.equal(await attempt(id), null);
  receiver.respond = (response) => response.writeHead(500).end();
  await deliverEvent(db, target, slow);
  const row = await read(id);
  assert.ok(row.delivered_at);
  assert.equal(row.last_error, null);
});

test('nothing is sent without a secret, which is said with how to make one', () => {
  assert.throws(() => readSettings({ WEBHOOK_URL: 'http://127.0.0.1' }), /WEBHOOK_SECRET is missing/);
  assert.equal(readWebhookTarget({}), null);
});
