import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openTestDatabase } from '../../testing/database.ts';
import { openTrainingMetrics } from './training-metrics.ts';

const { db } = await openTestDatabase();

test('any number of scrapes share one query, and a later one asks again', async () => {
  let queries = 0;
  const counted = Object.assign(Object.create(db), {
    execute(query: Parameters<typeof db.execute>[0]) {
      queries++;
      return db.execute(query);
    },
  }) as typeof db;
  const render = openTrainingMetrics(counted);
  const scrapes = await Promise.all(Array.from({ length: 20 }, render));
  assert.match(scrapes[19]!, /^attune_postgres_up 1$/m);
  assert.equal(queries, 1);
  await render();
  assert.equal(queries, 2);
});
