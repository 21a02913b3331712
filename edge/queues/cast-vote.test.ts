import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { and, eq } from 'drizzle-orm';
import { preferences, queue_items, reservations } from '../../shared/database/schema.ts';
import { mulberry32 } from '../../shared/random.ts';
import { openTestDatabase } from '../../testing/database.ts';
import { openRaterActions } from '../../testing/rater-actions.ts';
import { storeItems, storeQueue } from '../../testing/stored-queues.ts';

const { db } = await openTestDatabase();
const { reserve, take, vote, undo, expire, findItem } = openRaterActions(db);

test('fifty raters at once, some of whom skip or leave: each item gets its reviews exactly, and nobody has one twice', async () => {
  const queue = await storeQueue(db, { reviews: 3 });
  await storeItems(db, queue, 30, (at) => ({ group: `group ${at % 3}` }));
  const random = mulberry32(7);
  const isDone = async () =>
    (await db.$count(queue_items, and(eq(queue_items.queue_id, queue.id), eq(queue_items.state, 'open')))) === 0;
  const work = async (rater: string) => {
    while (true) {
      const result = await reserve(queue, rater);
      assert.ok(result);
      if ('reason' in result) {
        if (await isDone()) return;
        // Others have what is left.
        await setTimeout(20);
        continue;
      }
      const { reservation } = result;
      const luck = random();
      await setTimeout(luck * 4);
      if (luck < 0.15) await expire(reservation);
      else if (luck < 0.25) await vote(reservation, { choice: 'skip' });
      else {
        await vote(reservation, { choice: luck < 0.6 ? 'a' : 'b' });
        if (luck > 0.95) {
          await undo(reservation);
          await vote(reservation, { choice: 'tie' });
        }
      }
    }
  };
  await Promise.all(Array.from({ length: 50 }, (_, at) => work(`user:${at}`)));

  const items = await db.select().from(queue_items).where(eq(queue_items.queue_id, queue.id));
  assert.deepEqual(new Set(items.map(({ state, reviews }) => `${state} ${reviews}`)), new Set(['done 3']));
  const given = await db
    .select({ rater: reservations.rater, item: reservations.item_id, state: reservations.state })
    .from(reservations)
    .where(eq(reservations.queue_id, queue.id));
  for (const { id } of items) {
    const own = given.filter(({ item, state }) => item === id && state !== 'lapsed');
    assert.equal(own.filter(({ state }) => state === 'voted').length, 3);
    assert.equal(new Set(own.map(({ rater }) => rater)).size, own.length);
  }
  assert.ok(given.some(({ state }) => state === 'lapsed') && given.some(({ state }) => state === 'skipped'));
  assert.equal(await db.$count(preferences), 90);
  const shares = await db
    .select({ probability: reservations.probability })
    .from(reservations)
    .where(eq(reservations.queue_id, queue.id));
  assert.ok(shares.every(({ probability }) => probability > 0 && probability <= 1 / 1));
});

test('an item is given to as many raters at once as it needs reviews, and to no more', async () => {
  const queue = await storeQueue(db, { reviews: 2 });
  await storeItems(db, queue, 1);
  const results = await Promise.all(Array.from({ length: 20 }, (_, at) => reserve(queue, `user:${at}`)));
  const taken = results.flatMap((result) => (result && 'reservation' in result ? result.reservation : []));
  assert.equal(taken.length, 2);
  const refusals = results.flatMap((result) => (result && 'reason' in result ? result.reason : []));
  assert.deepEqual(new Set(refusals), new Set(['empty']));
});

test('a lapsed reservation is given on; its late vote counts as long as there is room', async () => {
  const queue = await storeQueue(db);
  await storeItems(db, queue, 1);
  const first = await take(queue, 'user:ann');
  await expire(first);
  const second = await take(queue, 'user:bob');
  assert.equal(second.item_id, first.item_id);
  await assert.rejects(vote(first), { status: 409, code: 'reservation_lapsed' });
  await expire(second);
  assert.equal((await vote(second)).reservation.state, 'voted');
  await assert.rejects(vote(first), { code: 'reservation_lapsed' });
  assert.equal((await findItem(first.item_id)).reviews, 1);
});

test('a vote is changed and undone, and its place may be taken meanwhile', async () => {
  const queue = await storeQueue(db);
  await storeItems(db, queue, 1);
  const first = await take(queue, 'user:ann');
  await vote(first, { choice: 'b', edit: 'better' });
  const list = () => db.select().from(preferences).where(eq(preferences.reservation_id, first.id));
  assert.deepEqual((await list()).map(({ source }) => source).toSorted(), ['comparison', 'demonstration']);
  await vote(first, { choice: 'tie' });
  assert.deepEqual(
    (await list()).map(({ choice }) => choice),
    ['tie'],
  );
  assert.equal((await findItem(first.item_id)).state, 'done');
  assert.equal((await undo(first)).state, 'open');
  assert.deepEqual(await list(), []);
  const item = await findItem(first.item_id);
  assert.deepEqual([item.state, item.reviews], ['open', 0]);
  await assert.rejects(undo(first), { status: 409, code: 'not_voted' });
  await vote(first, { choice: 'skip' });
  assert.equal((await findItem(first.item_id)).skips, 1);
  const second = await take(queue, 'user:bob');
  await assert.rejects(undo(first), { status: 409, code: 'reservation_lapsed' });
  await vote(second, { choice: 'skip' });
  assert.equal((await undo(first)).state, 'open');
  assert.equal((await findItem(first.item_id)).skips, 1);
});

test('one item is reserved ahead, and is the next one after a vote', async () => {
  const queue = await storeQueue(db, { reviews: 1 });
  await storeItems(db, queue, 4);
  const current = await take(queue, 'user:ann');
  const ahead = await take(queue, 'user:ann', { ahead: true });
  assert.notEqual(ahead.item_id, current.item_id);
  assert.equal((await take(queue, 'user:ann', { ahead: true })).id, ahead.id);
  assert.equal((await take(queue, 'user:ann')).id, current.id);
  await vote(current);
  assert.equal((await take(queue, 'user:ann')).id, ahead.id);
  // A vote that is undone comes before it again.
  await undo(current);
  assert.equal((await take(queue, 'user:ann')).id, current.id);
});

test('nothing is reserved ahead of calibration', async () => {
  const queue = await storeQueue(db, { calibration: { items: 1 } });
  await storeItems(db, queue, 2, (at) => (at === 0 ? { kind: 'calibration', expected: 'a' } : {}));
  const current = await take(queue, 'user:ann');
  assert.equal(current.purpose, 'calibration');
  assert.equal((await take(queue, 'user:ann', { ahead: true })).id, current.id);
});

test('two tabs of one rater get the same item', async () => {
  const queue = await storeQueue(db);
  await storeItems(db, queue, 5);
  const taken = await Promise.all(Array.from({ length: 10 }, () => take(queue, 'user:ann')));
  assert.equal(new Set(taken.map(({ id }) => id)).size, 1);
});
