import assert from 'node:assert/strict';
import { test } from 'node:test';
import { and, eq } from 'drizzle-orm';
import { type ErasureSubject, preferences, reservations } from '../../shared/database/schema.ts';
import { erase } from '../../shared/erasure/erase.ts';
import { findSubject } from '../../shared/erasure/subject.ts';
import type { ReservationRow } from '../../shared/queues/reserve.ts';
import { openTestDatabase } from '../../testing/database.ts';
import { openRaterActions } from '../../testing/rater-actions.ts';
import { storeItems, storeQueue } from '../../testing/stored-queues.ts';

const { db } = await openTestDatabase();
const { reserve, take, vote, findItem } = openRaterActions(db);

const run = (kind: ErasureSubject, value: string) =>
  db.transaction(async (transaction) =>
    erase(transaction, await findSubject(transaction, kind, value, 'default'), 'key_x'),
  );
const findReservation = async ({ id }: ReservationRow) =>
  (await db.select().from(reservations).where(eq(reservations.id, id)))[0]!;

test('an edit that is erased alone leaves its vote, which can be changed and given another edit', async () => {
  const queue = await storeQueue(db);
  await storeItems(db, queue, 1);
  const reservation = await take(queue, 'user:ann');
  const { stored } = await vote(reservation, { edit: 'a better text' });
  await run('preference', stored!.demonstration!.id);
  const left = await findReservation(reservation);
  assert.deepEqual([left.rater, left.state, left.erased_at], ['user:ann', 'voted', null]);
  assert.equal((await findItem(reservation.item_id)).reviews, 1);
  const changed = await vote(reservation, { choice: 'b', edit: 'another text' });
  assert.equal(changed.stored!.demonstration!.chosen, 'another text');
  const result = await reserve(queue, 'user:ann');
  assert.equal(result && 'reason' in result && result.reason, 'done');
});

test('an erased vote is no review any more, and its item is offered again', async () => {
  for (const [subject, rater] of [
    ['preference', 'user:bob'],
    ['user', 'user:cid'],
  ] as const) {
    const queue = await storeQueue(db, { reviews: 2 });
    await storeItems(db, queue, 1);
    const first = await take(queue, rater);
    const { stored } = await vote(first);
    await vote(await take(queue, 'user:dan'), { edit: 'better' });
    assert.deepEqual((await findItem(first.item_id)).state, 'done');
    await run(subject, subject === 'user' ? 'cid' : stored!.vote.id);
    const { reviews, state } = await findItem(first.item_id);
    assert.deepEqual([reviews, state], [1, 'open']);
    assert.equal((await take(queue, 'user:eve')).item_id, first.item_id);
  }
});

test('an erased skip, and an erased vote that an operator had discounted, change no reviews', async () => {
  const queue = await storeQueue(db);
  await storeItems(db, queue, 1);
  const skipped = await take(queue, 'user:fay');
  await vote(skipped, { choice: 'skip' });
  const voted = await take(queue, 'user:gus');
  await vote(voted);
  assert.equal((await findItem(voted.item_id)).skips, 1);
  await run('user', 'fay');
  const { reviews, skips, state } = await findItem(voted.item_id);
  assert.deepEqual([reviews, skips, state], [1, 0, 'done']);
  await db.update(reservations).set({ requeued: true }).where(eq(reservations.id, voted.id));
  await run('user', 'gus');
  assert.equal((await findItem(voted.item_id)).reviews, 1);
  assert.equal(await db.$count(preferences, and(eq(preferences.rater, 'user:gus'))), 0);
});

test('a vote that is changed while it is erased is changed or erased, without a deadlock', async () => {
  const queue = await storeQueue(db);
  await storeItems(db, queue, 30);
  const outcomes = new Set<string>();
  for (let at = 0; at < 30; at++) {
    const reservation = await take(queue, 'user:hal');
    const { stored } = await vote(reservation, { edit: 'better' });
    const erased = at % 2 === 0 ? stored!.vote.id : stored!.demonstration!.id;
    const results = await Promise.allSettled([
      vote(reservation, { choice: 'b', edit: 'best' }),
      run('preference', erased),
    ]);
    for (const result of results) {
      if (result.status === 'fulfilled') continue;
      assert.equal(result.reason.status, 404, String(result.reason));
    }
    outcomes.add(results.map(({ status }) => status).join(' and '));
    const { reviews, state } = await findItem(reservation.item_id);
    const { erased_at } = await findReservation(reservation);
    assert.deepEqual([reviews, state], erased_at ? [0, 'open'] : [1, 'done']);
  }
  assert.ok(!outcomes.has('rejected and rejected'), [...outcomes].join('; '));
});
