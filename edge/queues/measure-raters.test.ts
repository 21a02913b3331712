import assert from 'node:assert/strict';
import { test } from 'node:test';
import { and, eq, ne } from 'drizzle-orm';
import {
  comparisons,
  preferences,
  queue_items,
  raters,
  reservations,
  webhook_events,
} from '../../shared/database/schema.ts';
import { newId } from '../../shared/id.ts';
import type { Refusal } from '../../shared/queues/admission.ts';
import { findProgress } from '../../shared/queues/progress.ts';
import type { QueueRow } from '../../shared/queues/queues.ts';
import { pauseRater, resumeRater } from '../../shared/queues/rater-standing.ts';
import { type ReservationRow, reserveItem } from '../../shared/queues/reserve.ts';
import { openTestDatabase } from '../../testing/database.ts';
import { storeItems, storeQueue } from '../../testing/stored-queues.ts';
import { castVote, undoVote } from './cast-vote.ts';
import { describeReservation } from './describe-reservation.ts';

const { db } = await openTestDatabase();

async function next(queue: QueueRow, rater: string): Promise<ReservationRow | Refusal> {
  const result = await reserveItem(db, queue.id, rater, { tenant: 'default', created_by: 'key_backend' });
  assert.ok(result);
  return 'reservation' in result ? result.reservation : result;
}

async function take(queue: QueueRow, rater: string): Promise<ReservationRow> {
  const result = await next(queue, rater);
  assert.ok('id' in result, JSON.stringify(result));
  return result;
}

const answer = (reservation: ReservationRow, choice: 'a' | 'b' | 'skip') =>
  db.transaction((transaction) =>
    castVote(transaction, reservation, {
      choice,
      strength: null,
      tags: ['why'],
      comment: 'because',
      edit: null,
      seconds: 2,
      redacted: false,
    }),
  );

const known = (kind: 'gold' | 'calibration') => (at: number) => ({
  kind,
  prompt: `${kind} ${at}`,
  expected: 'a' as const,
  explanation: `a is right, ${at}`,
});

test('a new rater answers calibration items first, and is shown the right answer after each', async () => {
  const queue = await storeQueue(db, { calibration: { items: 3, accuracy: 0.6 } });
  await storeItems(db, queue, 2);
  await storeItems(db, queue, 5, known('calibration'));
  for (const choice of ['a', 'a', 'b'] as const) {
    const reservation = await take(queue, 'user:ann');
    const shown = await describeReservation(db, reservation);
    assert.deepEqual([shown.purpose, shown.expected, shown.explanation], ['calibration', null, null]);
    const { reservation: voted } = await answer(reservation, choice);
    const after = await describeReservation(db, voted);
    assert.equal(after.expected, voted.swapped ? 'b' : 'a');
    assert.match(after.explanation!, /a is right/);
    const again = db.transaction((transaction) => undoVote(transaction, voted));
    await assert.rejects(again, { status: 409, code: 'answer_shown' });
    await assert.rejects(answer(voted, 'a'), { status: 409, code: 'answer_shown' });
  }
  assert.equal((await take(queue, 'user:ann')).purpose, 'vote');
  const { calibration, mine } = await findProgress(db, queue, 'user:ann');
  assert.deepEqual(calibration, { done: 3, items: 3, accuracy: 2 / 3 });
  assert.equal(mine.done, 0);
  assert.equal(await db.$count(preferences), 0);
});

test('whoever fails the calibration is paused with the reason, and goes on when an operator says so', async () => {
  const queue = await storeQueue(db, { calibration: { items: 2, accuracy: 0.6 } });
  await storeItems(db, queue, 2);
  await storeItems(db, queue, 2, known('calibration'));
  await answer(await take(queue, 'user:bob'), 'a');
  // A skip is no right answer, nor a way past the item.
  await answer(await take(queue, 'user:bob'), 'skip');
  const paused = await next(queue, 'user:bob');
  assert.ok('reason' in paused);
  assert.equal(paused.reason, 'paused');
  assert.match(paused.message, /^calibration: 50% of 2 items right, and this queue asks for 60%/);
  assert.deepEqual((await findProgress(db, queue, 'user:bob')).paused, { reason: paused.message });
  await db.transaction((transaction) => resumeRater(transaction, queue.id, 'user:bob'));
  assert.equal((await take(queue, 'user:bob')).purpose, 'vote');
});

test('gold items look like others, are trained on by nobody, and pause whoever gets them wrong', async () => {
  const queue = await storeQueue(db, { gold_share: 1, pause: { gold_accuracy: 0.6, gold_items: 3 } });
  await storeItems(db, queue, 10);
  await storeItems(db, queue, 7, known('gold'));
  const before = await db.$count(preferences);
  for (const choice of ['a', 'b', 'a', 'a', 'b', 'b'] as const) {
    const reservation = await take(queue, 'user:eve');
    assert.equal(reservation.purpose, 'gold');
    // Stored as float32.
    assert.equal(reservation.probability.toFixed(6), (1 / (await countUnseen(queue, 'user:eve'))).toFixed(6));
    const { reservation: voted } = await answer(reservation, choice);
    const shown = await describeReservation(db, voted);
    assert.deepEqual([shown.purpose, shown.expected, shown.explanation, shown.policies], ['vote', null, null, null]);
    assert.deepEqual([shown.tags, shown.comment], [['why'], 'because']);
    // What is shown is what was voted, in terms of the sides as shown.
    assert.equal(shown.choice === choice, !voted.swapped);
  }
  const paused = await next(queue, 'user:eve');
  assert.ok('reason' in paused);
  assert.match(paused.message, /^33% of the last 3 items whose answer is known were right/);
  assert.equal(await db.$count(preferences), before);
  // Once, and without the name of an end user.
  assert.deepEqual(await listPauses(queue), [{ queue: queue.id, rater: null, reason: paused.message }]);
  await db.transaction((transaction) => resumeRater(transaction, queue.id, 'user:eve'));
  await answer(await take(queue, 'user:eve'), 'b');
  assert.ok('id' in (await next(queue, 'user:eve')), 'one wrong answer after the pause does not pause again');
});

test('pausing a rater by hand is told once, until the rater has gone on', async () => {
  const queue = await storeQueue(db, {});
  const rater = newId('rater_');
  const pause = (reason: string) => db.transaction((transaction) => pauseRater(transaction, queue.id, rater, reason));
  await pause('first');
  await pause('again');
  assert.deepEqual(await listPauses(queue), [{ queue: queue.id, rater, reason: 'first' }]);
  await db.transaction((transaction) => resumeRater(transaction, queue.id, rater));
  await pause('second');
  assert.equal((await listPauses(queue)).length, 2);
});

async function listPauses({ id }: QueueRow): Promise<Record<string, unknown>[]> {
  const events = await db.select().from(webhook_events).where(eq(webhook_events.type, 'rater.paused'));
  return events.map(({ data }) => data).filter(({ queue }) => queue === id);
}

async function countUnseen(queue: QueueRow, rater: string): Promise<number> {
  const gold = and(eq(queue_items.queue_id, queue.id), eq(queue_items.kind, 'gold'));
  const seen = and(eq(reservations.queue_id, queue.id), eq(reservations.rater, rater), ne(reservations.state, 'open'));
  return (await db.$count(queue_items, gold)) - (await db.$count(reservations, seen));
}

test('an item is repeated once, some votes later, with the sides the other way round, and counts once', async () => {
  const queue = await storeQueue(db, { repeat_share: 1 });
  await storeItems(db, queue, 9);
  const first = new Map<string, boolean>();
  let repeats = 0;
  for (let at = 0; at < 12; at++) {
    const reservation = await take(queue, 'user:dan');
    await answer(reservation, 'a');
    if (reservation.purpose === 'vote') first.set(reservation.item_id, reservation.swapped);
    else {
      assert.equal(reservation.purpose, 'repeat');
      assert.equal(reservation.swapped, !first.get(reservation.item_id));
      assert.equal((await describeReservation(db, reservation)).purpose, 'vote');
      repeats++;
    }
  }
  assert.ok(repeats >= 3, `${repeats} repeats`);
  const votes = await db
    .select({ id: preferences.comparison_id })
    .from(preferences)
    .innerJoin(comparisons, eq(comparisons.id, preferences.comparison_id))
    .where(eq(comparisons.queue_id, queue.id));
  assert.equal(new Set(votes.map(({ id }) => id)).size, votes.length);
  assert.equal(votes.length, 12 - repeats);
});

test('only raters of the list, or with a skill, may rate; nobody after the deadline, or in a closed queue', async () => {
  const [ann, bob] = [newId('rater_'), newId('rater_')];
  const owner = { tenant: 'default', created_by: 'x' };
  await db.insert(raters).values([
    { id: ann, name: 'Ann', skills: ['law', 'french'], ...owner },
    { id: bob, name: 'Bob', skills: ['code'], ...owner },
  ]);
  const reasonOf = async (settings: object, rater: string) => {
    const queue = await storeQueue(db, settings);
    await storeItems(db, queue, 1);
    const result = await next(queue, rater);
    return 'reason' in result ? result.reason : null;
  };
  assert.equal(await reasonOf({ skills: ['law'] }, ann), null);
  assert.equal(await reasonOf({ skills: ['law'] }, bob), 'not_allowed');
  assert.equal(await reasonOf({ skills: ['law'], raters: [bob] }, bob), null);
  assert.equal(await reasonOf({ raters: [bob] }, ann), 'not_allowed');
  assert.equal(await reasonOf({ raters: ['user:eve'] }, 'user:eve'), null);
  assert.equal(await reasonOf({ deadline: new Date(Date.now() - 1000).toISOString() }, bob), 'deadline');
  assert.equal(await reasonOf({ deadline: new Date(Date.now() + 60_000).toISOString() }, bob), null);
});

test('an operator pauses a rater, who is told the reason', async () => {
  const queue = await storeQueue(db);
  await storeItems(db, queue, 1);
  await db.transaction((transaction) => pauseRater(transaction, queue.id, 'user:fay', 'call me'));
  assert.deepEqual(await next(queue, 'user:fay'), { reason: 'paused', message: 'call me' });
});

test('the least-reviewed items of a group drawn evenly come first, and each reservation has its probability', async () => {
  const queue = await storeQueue(db, { reviews: 2 });
  await storeItems(db, queue, 1, { group: 'small', prompt: 'alone' });
  await storeItems(db, queue, 4, (at) => ({ group: 'large', prompt: `large ${at}` }));
  const one = await take(queue, 'user:1');
  const groups = new Map(
    (await db.select().from(queue_items).where(eq(queue_items.queue_id, queue.id))).map((row) => [
      row.id,
      row.prompt_group,
    ]),
  );
  assert.equal(one.probability, groups.get(one.item_id) === 'small' ? 0.5 : 0.125);
  await answer(one, 'a');
  // Each of the five once, before any of them a second time.
  const seen = new Set([one.item_id]);
  for (let at = 2; at <= 40 && seen.size < 5; at++) {
    const reservation = await take(queue, `user:${at}`);
    if (groups.get(reservation.item_id) === 'large' && seen.has(reservation.item_id))
      assert.ok([...groups].filter(([, group]) => group === 'large').every(([id]) => seen.has(id)));
    seen.add(reservation.item_id);
    await answer(reservation, 'a');
  }
  assert.equal(seen.size, 5);
});

test('items in the order of their import, if the queue says so', async () => {
  const queue = await storeQueue(db, { order: 'imported' });
  await storeItems(db, queue, 6);
  const items = await db.select().from(queue_items).where(eq(queue_items.queue_id, queue.id)).orderBy(queue_items.id);
  for (const { id } of items) {
    const reservation = await take(queue, 'user:ann');
    assert.deepEqual([reservation.item_id, reservation.probability], [id, 1]);
    await answer(reservation, 'a');
  }
});
