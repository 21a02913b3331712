import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eq, sql } from 'drizzle-orm';
import { openTestDatabase } from '../../testing/database.ts';
import { storeItems, storeQueue } from '../../testing/stored-queues.ts';
import { queue_items } from '../database/schema.ts';
import { blankItems } from '../erasure/queue-rows.ts';

const { db } = await openTestDatabase();

test('the same two texts are an item of each kind, and of each right answer, once', async () => {
  const queue = await storeQueue(db);
  const count = () => db.$count(queue_items, eq(queue_items.queue_id, queue.id));
  const kinds = [
    {},
    { kind: 'gold', expected: 'a' },
    { kind: 'gold', expected: 'b' },
    { kind: 'calibration', expected: 'a' },
  ] as const;
  for (const [at, given] of kinds.entries()) {
    await storeItems(db, queue, 1, given);
    await storeItems(db, queue, 1, given);
    assert.equal(await count(), at + 1);
  }
});

test('what was erased is imported again', async () => {
  const queue = await storeQueue(db);
  await storeItems(db, queue, 2);
  const [item] = await db.select().from(queue_items).where(eq(queue_items.queue_id, queue.id));
  await db.transaction((transaction) => blankItems(transaction, [item!.id], sql<Date>`now()`));
  await storeItems(db, queue, 2);
  assert.equal(await db.$count(queue_items, eq(queue_items.queue_id, queue.id)), 3);
});
