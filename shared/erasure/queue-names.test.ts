import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eq } from 'drizzle-orm';
import { openTestDatabase } from '../../testing/database.ts';
import { storeItems, storeQueue } from '../../testing/stored-queues.ts';
import { listTablesWith } from '../../testing/stored-rows.ts';
import { type ErasureSubject, idempotency_keys, queue_raters, queues } from '../database/schema.ts';
import { pauseRater } from '../queues/rater-standing.ts';
import { erase } from './erase.ts';
import { findSubject } from './subject.ts';

const { db } = await openTestDatabase();

const run = (kind: ErasureSubject, value: string) =>
  db.transaction(async (transaction) =>
    erase(transaction, await findSubject(transaction, kind, value, 'default'), 'key_x'),
  );

test('a user is erased in the settings of queues, which stay closed to others, and in what was answered about them', async () => {
  const alone = await storeQueue(db, { raters: ['user:canary "ann"'] });
  const shared = await storeQueue(db, { raters: ['user:bob', 'user:canary "ann"', 'user:canary "ann" b'] });
  const about = { caller: 'key_operator', operation: '/v1/queues/{id}/raters/{rater}/pause', request_hash: 'x' };
  const response = { object: 'queue_rater', queue: alone.id, rater: 'user:canary "ann"' };
  const other = { ...response, rater: 'user:bob', note: '\u0000' };
  await db.insert(idempotency_keys).values([
    { ...about, key: '1', response, resource_ids: [alone.id] },
    { ...about, key: '2', response: { settings: shared.settings }, resource_ids: [shared.id], tenant: 'of an admin' },
    { ...about, key: '3', response: other, resource_ids: [alone.id] },
  ]);
  await run('user', 'canary "ann"');
  const findRaters = async (id: string) =>
    (await db.select().from(queues).where(eq(queues.id, id)))[0]!.settings.raters;
  assert.deepEqual(await findRaters(alone.id), ['erased']);
  assert.deepEqual(await findRaters(shared.id), ['user:bob', 'erased', 'user:canary "ann" b']);
  const left = await db.select({ key: idempotency_keys.key }).from(idempotency_keys);
  assert.deepEqual(left, [{ key: '3' }]);
  await run('user', 'canary "ann" b');
  assert.deepEqual(await listTablesWith(db, 'canary'), []);
});

test('nobody stands in a queue that was erased with its key', async () => {
  const queue = await storeQueue(db);
  const kept = await storeQueue(db);
  await db.update(queues).set({ created_by: 'key_gone' }).where(eq(queues.id, queue.id));
  await storeItems(db, queue, 1);
  for (const { id } of [queue, kept])
    await db.transaction((transaction) => pauseRater(transaction, id, 'user:canary cid', 'a reason'));
  await run('key', 'key_gone');
  const left = await db.select({ id: queue_raters.queue_id }).from(queue_raters);
  assert.deepEqual(left, [{ id: kept.id }]);
});
