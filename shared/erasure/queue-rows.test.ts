import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eq, sql } from 'drizzle-orm';
import { openTestDatabase } from '../../testing/database.ts';
import { storeItems, storeQueue } from '../../testing/stored-queues.ts';
import { listTablesWith, storeComparison, storeCompletion, storePreference } from '../../testing/stored-rows.ts';
import { waitUntil } from '../../testing/wait-until.ts';
import type { Database } from '../database/connect.ts';
import {
  comparisons,
  completions,
  type ErasureSubject,
  idempotency_keys,
  queue_guidelines,
  queue_items,
  queue_raters,
  queues,
  raters,
  reservations,
} from '../database/schema.ts';
import { newId } from '../id.ts';
import { drawItems } from '../queues/draw-items.ts';
import { insertItems } from '../queues/insert-items.ts';
import type { QueueRow } from '../queues/queues.ts';
import { pauseRater } from '../queues/rater-standing.ts';
import { reserveItem } from '../queues/reserve.ts';
import { erase } from './erase.ts';
import { applyRetention } from './retention.ts';
import { findSubject } from './subject.ts';

const { db } = await openTestDatabase();
const CANARY = 'canary of a person';
const OWNER = { tenant: 'default', created_by: 'key_backend' };
const DAY_MS = 86_400_000;

const run = (kind: ErasureSubject, value: string) =>
  db.transaction(async (transaction) =>
    erase(transaction, await findSubject(transaction, kind, value, 'default'), 'key_x'),
  );

const reserve = async (queue: QueueRow, rater: string) => {
  const result = await reserveItem(db, queue.id, rater, OWNER);
  assert.ok(result && 'reservation' in result);
  return result.reservation;
};

const draw = (queue: QueueRow, user: string) =>
  drawItems(db, queue, { filter: { user }, count: 10, seed: 1, owner: OWNER, redact: null });

test('an end user is erased with the items drawn from what the user wrote, and the comparisons made of them', async () => {
  const queue = await storeQueue(db, { pairing: { type: 'given' } });
  await storeCompletion(db, CANARY, { user: 'canary ann' });
  await storeCompletion(db, 'of another', { user: 'bob' });
  for (const user of ['canary ann', 'bob']) assert.equal((await draw(queue, user)).duplicates, 0);
  const made = await storeComparison(db, CANARY);
  await db.update(queue_items).set({ comparison_id: made.id, state: 'open' }).where(eq(queue_items.given, CANARY));
  const reservation = await reserve(queue, 'user:eve');
  const remarks = { tags: [], comment: CANARY, edit: CANARY };
  await db.update(reservations).set({ remarks }).where(eq(reservations.id, reservation.id));
  await storePreference(db, CANARY, { source: 'comparison', comparison_id: made.id, rater: 'user:eve' });

  const { counts } = await run('user', 'canary ann');
  assert.deepEqual([counts.completions, counts.comparisons, counts.preferences], [2, 1, 1]);
  const [erased, kept] = await db
    .select()
    .from(queue_items)
    .where(eq(queue_items.queue_id, queue.id))
    .orderBy(queue_items.id);
  assert.deepEqual([erased!.prompt, erased!.given, erased!.state, erased!.reason], ['', null, 'dropped', 'erased']);
  assert.deepEqual([kept!.prompt, kept!.given], ['of another', 'of another']);
  // The item that eve had reserved may be either of them.
  await run('user', 'bob');
  assert.deepEqual(await listTablesWith(db, CANARY), []);
  assert.deepEqual(await listTablesWith(db, 'of another'), []);
});

test('a comparison is erased with its item, and the votes that measured raters on it', async () => {
  const queue = await storeQueue(db, { gold_share: 1 });
  await storeItems(db, queue, 1);
  const gold = { kind: 'gold' as const, prompt: CANARY, sides: [`${CANARY} 1`, `${CANARY} 2`] as const };
  await storeItems(db, queue, 1, { ...gold, expected: 'a', explanation: CANARY });
  const reservation = await reserve(queue, 'user:ann');
  const said = { choice: 'a' as const, remarks: { tags: [CANARY], comment: CANARY, edit: CANARY } };
  await db.update(reservations).set(said).where(eq(reservations.id, reservation.id));
  const responses = { operation: 'y', request_hash: 'z', response: { text: CANARY } };
  await db.insert(idempotency_keys).values({ ...responses, key: '1', resource_ids: [reservation.id] });
  const [item] = await db.select().from(queue_items).where(eq(queue_items.id, reservation.item_id));
  await run('comparison', item!.comparison_id!);
  assert.deepEqual(await listTablesWith(db, CANARY), []);
  const [left] = await db.select().from(reservations).where(eq(reservations.id, reservation.id));
  assert.deepEqual([left!.state, left!.choice, left!.rater], ['lapsed', 'a', `erased:${reservation.id}`]);
});

test('a rater is erased with reservations and standing, and the place is free', async () => {
  const rater = newId('rater_');
  await db.insert(raters).values({ id: rater, name: 'x', skills: [], tenant: 'default', created_by: 'key_y' });
  const queue = await storeQueue(db);
  await storeItems(db, queue, 1);
  const reservation = await reserve(queue, rater);
  await db.transaction((transaction) => pauseRater(transaction, queue.id, rater, CANARY));
  await run('rater', rater);
  assert.deepEqual(await listTablesWith(db, CANARY), []);
  assert.equal(await db.$count(queue_raters, eq(queue_raters.rater, rater)), 0);
  assert.equal(await db.$count(reservations, eq(reservations.rater, rater)), 0);
  assert.equal((await reserve(queue, 'user:bob')).item_id, reservation.item_id);
});

test('a vote is erased with the name in its reservation', async () => {
  const queue = await storeQueue(db);
  await storeItems(db, queue, 1);
  const reservation = await reserve(queue, 'user:canary cid');
  const [item] = await db.select().from(queue_items).where(eq(queue_items.id, reservation.item_id));
  const vote = { source: 'comparison' as const, comparison_id: item!.comparison_id, reservation_id: reservation.id };
  const id = await storePreference(db, 'x', { ...vote, rater: 'user:canary cid' });
  await run('preference', id);
  assert.ok(!(await listTablesWith(db, 'canary cid')).includes('public.reservations'));
});

test('a key is erased with its queues, their guidelines and their items', async () => {
  const owner = { tenant: 'default', created_by: 'key_operator' };
  const queue = await storeQueue(db, { tags: [CANARY] });
  await db.update(queues).set({ name: CANARY }).where(eq(queues.id, queue.id));
  await db.update(queue_guidelines).set({ text: CANARY }).where(eq(queue_guidelines.queue_id, queue.id));
  await storeItems(db, queue, 3, (at) => ({ prompt: `${CANARY} ${at}`, sides: [`${CANARY} a`, `${CANARY} b`] }));
  await reserve(queue, 'user:ann');
  await run('key', owner.created_by);
  assert.deepEqual(await listTablesWith(db, CANARY), []);
  const [left] = await db.select().from(queues).where(eq(queues.id, queue.id));
  assert.deepEqual([left!.name, left!.status, left!.settings.tags], [`erased:${queue.id}`, 'closed', []]);
});

test('what an open queue refers to stays for its votes; of a closed one it goes after its time', async () => {
  const toOldId = (prefix: 'chatcmpl-' | 'item_' | 'cmp_') =>
    prefix + (Date.now() - 8 * DAY_MS).toString(16).padStart(12, '0') + newId(prefix).slice(prefix.length + 12);
  const retain = () => applyRetention(db, { RETENTION_DAYS: 7 });
  const queue = await storeQueue(db, { pairing: { type: 'given' } });
  const drawnFrom = (await storeCompletion(db, 'drawn', { id: toOldId('chatcmpl-'), user: 'old' }))[0]!;
  await draw(queue, 'old');
  const made = await storeComparison(db, 'drawn', {}, toOldId('cmp_'));
  const old = { id: toOldId('item_'), comparison_id: made.id, state: 'open' as const };
  await db.update(queue_items).set(old).where(eq(queue_items.drawn_from, drawnFrom));
  const lapsed = await reserve(queue, 'user:dan');
  assert.equal(lapsed.item_id, old.id);
  const voted = await storeComparison(db, 'voted', {}, toOldId('cmp_'));
  for (const { id } of [made, voted])
    await db.update(comparisons).set({ queue_id: queue.id }).where(eq(comparisons.id, id));
  const item = { queue_id: queue.id, prompt: 'voted', content_hash: 'x', comparison_id: voted.id };
  await db.insert(queue_items).values({ ...item, id: toOldId('item_'), state: 'done', reviews: 1 });
  assert.equal(await retain(), 0);
  assert.equal(await db.$count(completions, eq(completions.id, drawnFrom)), 1);

  await db.update(queues).set({ status: 'closed' }).where(eq(queues.id, queue.id));
  assert.equal(await retain(), 2);
  assert.deepEqual(await listTablesWith(db, 'drawn'), []);
  const left = await db.select().from(queue_items).where(eq(queue_items.queue_id, queue.id));
  assert.deepEqual(
    left.map(({ prompt }) => prompt),
    ['voted'],
  );
  assert.equal(await retain(), 0);
});

/** Runs `work` in a transaction that is committed only once `meanwhile` waits for it. */
async function commitDuring(work: (transaction: Database) => Promise<unknown>, meanwhile: () => Promise<unknown>) {
  const begun = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  const held = db.transaction(async (transaction) => {
    await work(transaction);
    begun.resolve();
    await released.promise;
  });
  held.catch(begun.reject);
  await begun.promise;
  const waiting = meanwhile();
  await waitUntil(async () => {
    const [row] = await db.execute<{ waiting: boolean }>(
      sql`select exists (select from pg_locks where not granted) as waiting`,
    );
    return row!.waiting;
  });
  released.resolve();
  await Promise.all([held, waiting]);
}

test('an item that is drawn while its user is erased is erased too', async () => {
  const queue = await storeQueue(db);
  const [id] = await storeCompletion(db, CANARY, { user: 'canary fay' });
  const item = { kind: 'rated' as const, prompt: CANARY, group: '', given: null, sides: null };
  const drawn = { ...item, expected: null, explanation: null, drawnFrom: id!, redacted: false };
  await commitDuring(
    async (transaction) => {
      await transaction.select().from(completions).where(eq(completions.id, id!)).for('share');
      await insertItems(transaction, queue, [drawn], OWNER);
    },
    () => run('user', 'canary fay'),
  );
  assert.deepEqual(await listTablesWith(db, CANARY), []);
});

test('responses that are stored for an item while its user is erased are erased too', async () => {
  const queue = await storeQueue(db);
  await storeCompletion(db, CANARY, { user: 'canary gus' });
  await draw(queue, 'canary gus');
  await commitDuring(
    async (transaction) => {
      const [item] = await transaction
        .select()
        .from(queue_items)
        .where(eq(queue_items.queue_id, queue.id))
        .for('update');
      const made = await storeComparison(transaction, CANARY);
      await transaction
        .update(queue_items)
        .set({ comparison_id: made.id, state: 'open' })
        .where(eq(queue_items.id, item!.id));
    },
    () => run('user', 'canary gus'),
  );
  assert.deepEqual(await listTablesWith(db, CANARY), []);
});
