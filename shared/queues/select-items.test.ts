import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sql } from 'drizzle-orm';
import { openTestDatabase } from '../../testing/database.ts';
import { storeItems, storeQueue } from '../../testing/stored-queues.ts';
import { selectCandidates } from './select-items.ts';

const { db } = await openTestDatabase();

test('a rater with many votes in a large queue gets the next item at once, also before Postgres has statistics of it', async () => {
  const queue = await storeQueue(db);
  await storeItems(db, queue, 10_000, (at) => ({ prompt: `prompt ${at}`, sides: null }));
  for (const [rater, state, offset] of [
    ['user:ann', 'voted', 0],
    ['user:bob', 'open', 2000],
  ] as const)
    await db.execute(sql`
      insert into reservations
        (id, queue_id, item_id, rater, state, swapped, probability, guidelines_version, expires_at)
      select ${rater} || id, queue_id, id, ${rater}, ${state}, false, 1, 1, now() + interval '1 hour'
      from queue_items order by id offset ${offset} limit 2000`);
  const startedAt = performance.now();
  const candidates = await selectCandidates(db, queue, 'user:ann');
  // A hundred times as long, if each item is looked up among all reservations.
  assert.ok(performance.now() - startedAt < 1000, `${performance.now() - startedAt} ms`);
  assert.equal(candidates.length, 20);
  assert.equal(candidates[0]!.probability, 1 / 6000);
});
