// What a rater may still do with a reservation when the rater, the queue or the reservation itself has ended.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eq } from 'drizzle-orm';
import { preferences, reservations } from '../../shared/database/schema.ts';
import { lockQueue, type QueueChanges, type QueueRow, updateQueue } from '../../shared/queues/queues.ts';
import { pauseRater, resumeRater } from '../../shared/queues/rater-standing.ts';
import { requeue } from '../../shared/queues/requeue.ts';
import type { ReservationRow } from '../../shared/queues/reserve.ts';
import { openTestDatabase } from '../../testing/database.ts';
import { openRaterActions } from '../../testing/rater-actions.ts';
import { storeItems, storeQueue } from '../../testing/stored-queues.ts';

const { db } = await openTestDatabase();
const ANN = 'user:ann';
const { take, vote, undo, expire, findItem } = openRaterActions(db);
const change = (queue: QueueRow, changes: QueueChanges) =>
  db.transaction(async (transaction) =>
    updateQueue(transaction, (await lockQueue(transaction, queue.id, 'update'))!, changes, 'key_operator'),
  );

/** Of one rater: open, expired, skipped and voted on. */
async function takeEach(queue: QueueRow) {
  await storeItems(db, queue, 4);
  const expired = await take(queue);
  await expire(expired);
  const skipped = await take(queue);
  await vote(skipped, { choice: 'skip' });
  const voted = await take(queue);
  await vote(voted);
  return { expired, skipped, voted, open: await take(queue) };
}

test('a rater who is paused, or no longer one of the raters, does nothing with earlier reservations', async () => {
  for (const [refusal, end] of [
    [{ status: 409, code: 'rater_paused' }, (queue: QueueRow) => pauseRater(db, queue.id, ANN, 'call me')],
    [{ status: 403, code: 'not_allowed' }, (queue: QueueRow) => change(queue, { settings: { raters: ['user:bob'] } })],
  ] as const) {
    const queue = await storeQueue(db);
    const { expired, skipped, voted, open } = await takeEach(queue);
    await end(queue);
    for (const reservation of [expired, skipped, voted, open]) {
      await assert.rejects(vote(reservation, { choice: 'b' }), refusal);
      await assert.rejects(vote(reservation, { choice: 'skip' }), refusal);
    }
    for (const reservation of [skipped, voted]) await assert.rejects(undo(reservation), refusal);
  }
});

test('a vote from before a pause is not changed after it', async () => {
  const queue = await storeQueue(db);
  const { voted, skipped, open } = await takeEach(queue);
  await pauseRater(db, queue.id, ANN, 'call me');
  await resumeRater(db, queue.id, ANN);
  for (const reservation of [skipped, voted]) {
    await assert.rejects(vote(reservation, { choice: 'b' }), { status: 409, code: 'rater_paused' });
    await assert.rejects(undo(reservation), { status: 409, code: 'rater_paused' });
  }
  await vote(open);
  assert.equal((await vote(open, { choice: 'b' })).reservation.state, 'voted');
});

test('in a queue that has closed, only what is still reserved is voted on, and once', async () => {
  for (const changes of [
    { status: 'closed' as const },
    { settings: { deadline: new Date(Date.now() - 1000).toISOString() } },
  ]) {
    const queue = await storeQueue(db);
    const { expired, skipped, voted, open } = await takeEach(queue);
    await change(queue, changes);
    const refusal = { status: 409, code: 'queue_closed' };
    for (const reservation of [expired, skipped, voted]) await assert.rejects(vote(reservation), refusal);
    for (const reservation of [skipped, voted]) await assert.rejects(undo(reservation), refusal);
    assert.equal((await vote(open)).reservation.state, 'voted');
    await assert.rejects(vote(open, { choice: 'b' }), refusal);
  }
});

test('a rater who got the same item again votes through either reservation, once', async () => {
  for (const reviews of [1, 2]) {
    const queue = await storeQueue(db, { reviews });
    await storeItems(db, queue, 1);
    const first = await take(queue);
    await expire(first);
    const second = await take(queue);
    assert.equal(second.item_id, first.item_id);
    await vote(first);
    const [other] = await db.select().from(reservations).where(eq(reservations.id, second.id));
    assert.equal(other!.state, 'lapsed');
    await assert.rejects(vote(second), { status: 409 });
    assert.equal(
      await db.$count(preferences, eq(preferences.comparison_id, (await findItem(first.item_id)).comparison_id!)),
      1,
    );
    if (reviews === 2) assert.equal((await vote(await take(queue, 'user:bob'))).reservation.state, 'voted');
    const item = await findItem(first.item_id);
    assert.deepEqual([item.state, item.reviews], ['done', reviews]);
  }
});

test('what a queue has revealed is not voted on again', async () => {
  const queue = await storeQueue(db, { reveal: true });
  const { skipped, voted } = await takeEach(queue);
  for (const reservation of [skipped, voted]) {
    await assert.rejects(vote(reservation, { choice: 'b' }), { status: 409, code: 'answer_shown' });
    await assert.rejects(undo(reservation), { status: 409, code: 'answer_shown' });
  }
});

test('an edit that equals a side is refused, whatever the vote is for', async () => {
  for (const kind of ['rated', 'gold', 'calibration'] as const) {
    const queue = await storeQueue(db, { gold_share: kind === 'gold' ? 1 : 0, calibration: { items: 1 } });
    await storeItems(db, queue, 1);
    if (kind !== 'rated') await storeItems(db, queue, 1, { kind, expected: 'a', prompt: kind });
    const reservation = await take(queue);
    for (const [choice, edit, problem] of [
      ['a', 'first 0', /^edit: equals the response that it is meant to improve/],
      ['b', 'second 0', /^edit: equals the response that it is meant to improve/],
      ['b', 'first 0', /^edit: equals the other response/],
    ] as const)
      await assert.rejects(vote(reservation, { choice, edit }), { status: 400, param: 'edit', message: problem });
    await vote(reservation, { choice: 'a', edit: 'better' });
  }
});

test('gold items that were skipped were not answered right', async () => {
  const queue = await storeQueue(db, { gold_share: 1, pause: { gold_accuracy: 0.6, gold_items: 2 } });
  await storeItems(db, queue, 2);
  await storeItems(db, queue, 3, (at) => ({ kind: 'gold', expected: 'a', prompt: `gold ${at}` }));
  const right = await take(queue);
  await vote(right);
  await vote(await take(queue), { choice: 'skip' });
  await assert.rejects(take(queue), /50% of the last 2 items whose answer is known were right/);
  await assert.rejects(vote(right, { choice: 'b' }), { code: 'rater_paused' });
});

test('fewer reviews than an item has: it stays done when one of them is undone or requeued', async () => {
  for (const takeOne of [
    (_: QueueRow, reservation: ReservationRow) => vote(reservation, { choice: 'skip' }),
    (queue: QueueRow) => db.transaction((transaction) => requeue(transaction, queue, { rater: ANN })),
  ]) {
    const queue = await storeQueue(db, { reviews: 3 });
    await storeItems(db, queue, 1);
    const reservation = await take(queue);
    await vote(reservation);
    for (const rater of ['user:bob', 'user:cid']) await vote(await take(queue, rater));
    await takeOne(await change(queue, { settings: { reviews: 1 } }), reservation);
    const item = await findItem(reservation.item_id);
    assert.deepEqual([item.state, item.reviews], ['done', 2]);
    await assert.rejects(take(queue, 'user:dan'), /every item of this queue has its reviews/);
  }
});
