import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { sql } from 'drizzle-orm';
import { openTestDatabase } from '../../testing/database.ts';
import { heartbeats } from '../database/schema.ts';
import { runInTurn } from './turn.ts';

const { db } = await openTestDatabase();
beforeEach(() => db.delete(heartbeats));

const age = (interval: string) =>
  db.update(heartbeats).set({ seen_at: sql`${heartbeats.seen_at} - ${interval}::interval` });

test('of ten processes at once one works, and another one when its turn is over', async () => {
  const startedMs = performance.now();
  const results = await Promise.all(Array.from({ length: 10 }, () => runInTurn(db, async () => 'done')));
  const done = results.filter((result) => result !== null).length;
  // A second turn may have begun on a machine that is this slow.
  assert.ok(done === 1 || (done > 1 && performance.now() - startedMs > 1000), `${done} worked`);
  await age('-1 minute');
  assert.equal(await runInTurn(db, async () => 'early'), null);
  await age('2 minutes');
  assert.equal(await runInTurn(db, async () => 'again'), 'again');
});

test('a turn that begins in the future, by the clock of a server that failed, is nobody’s', async () => {
  await runInTurn(db, async () => 'first');
  await age('-9 minutes');
  assert.equal(await runInTurn(db, async () => 'early'), null);
  await age('-1 hour');
  assert.equal(await runInTurn(db, async () => 'again'), 'again');
});

test('a turn whose work fails, or whose process ends, is over in time', async () => {
  await assert.rejects(
    runInTurn(db, () => Promise.reject(new Error('cut'))),
    /cut/,
  );
  await age('2 seconds');
  assert.equal(await runInTurn(db, async () => 'later'), 'later');
});

test('after work that took long everybody waits for longer', async () => {
  await runInTurn(db, () => db.execute(sql`select pg_sleep(1)`));
  await age('2 seconds');
  assert.equal(await runInTurn(db, async () => 'early'), null);
  await age('5 minutes');
  assert.equal(await runInTurn(db, async () => 'later'), 'later');
});
