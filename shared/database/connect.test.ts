// The pool under a network that cuts, resets and stalls connections, through a proxy to a real Postgres.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';
import { sql } from 'drizzle-orm';
import { openTestDatabase } from '../../testing/database.ts';
import { openTcpProxy } from '../../testing/tcp-proxy.ts';
import { StatementError } from '../statement-error.ts';
import { connect, type Database } from './connect.ts';

const { db: direct, url } = await openTestDatabase();
await direct.execute(sql`create table writes (id text primary key, part integer)`);
const proxy = await openTcpProxy(url);

/** Two statements that belong together, with reads between them. */
function write(db: Database, id: string): Promise<void> {
  return db.transaction(async (transaction) => {
    await transaction.execute(sql`insert into writes values (${`${id} a`}, 1)`);
    await transaction.execute(sql`select count(*) from writes where id = ${`${id} a`}`);
    await transaction.execute(sql`insert into writes values (${`${id} b`}, 2)`);
  });
}

async function readIds(): Promise<Set<string>> {
  return new Set((await direct.execute<{ id: string }>(sql`select id from writes`)).map(({ id }) => id));
}

test('resets under 32 writers lose nothing acknowledged, tear no transaction and leave no dead connection', async (t) => {
  const { db, close } = connect(proxy.url, { max: 10 });
  let isStopped = false;
  const acknowledged: string[] = [];
  let failed = 0;
  const writers = Array.from({ length: 32 }, async (_, writer) => {
    for (let at = 0; !isStopped; at++) {
      const id = `reset ${writer} ${at}`;
      await write(db, id).then(
        () => acknowledged.push(id),
        () => failed++,
      );
    }
  });
  for (let cut = 0; cut < 8; cut++) {
    await sleep(150);
    proxy.reset();
  }
  await sleep(150);
  isStopped = true;
  const hung = Symbol('hung');
  assert.notEqual(await Promise.race([Promise.all(writers), sleep(20_000, hung)]), hung, 'a writer hangs');
  const later = Array.from({ length: 30 }, () => db.execute<{ one: number }>(sql`select 1 as one`));
  const results = await Promise.race([Promise.all(later), sleep(20_000, hung)]);
  assert.notEqual(results, hung, 'a later query hangs');
  const ids = await readIds();
  t.diagnostic(`${acknowledged.length} transactions acknowledged, ${failed} failed`);
  assert.ok(failed > 0);
  assert.deepEqual(
    acknowledged.filter((id) => !ids.has(`${id} a`) || !ids.has(`${id} b`)),
    [],
    'acknowledged but not stored',
  );
  const whole = (id: string) => ids.has(id.replace(/ b$/, ' a')) && ids.has(id.replace(/ a$/, ' b'));
  assert.deepEqual(
    [...ids].filter((id) => !whole(id)),
    [],
    'half of a transaction is stored',
  );
  await close();
});

test('after every transaction in flight was cut, 30 later queries succeed', async () => {
  const { db, close } = connect(proxy.url, { max: 10 });
  const held = Array.from({ length: 10 }, (_, at) =>
    db
      .transaction(async (transaction) => {
        await transaction.execute(sql`insert into writes values (${`held ${at}`}, 1)`);
        await transaction.execute(sql`select pg_sleep(5)`);
      })
      .catch((error: unknown) => error),
  );
  await sleep(1000);
  proxy.reset();
  await Promise.race([Promise.all(held), sleep(5000)]);
  const later = Array.from({ length: 30 }, () =>
    Promise.race([db.execute(sql`select 1 as one`), sleep(15_000, 'timed out')]).catch(() => 'failed'),
  );
  const results = await Promise.all(later);
  assert.deepEqual(
    results.filter((result) => typeof result === 'string'),
    [],
  );
  assert.equal([...(await readIds())].filter((id) => id.startsWith('held')).length, 0);
  await close();
});

test('the error of a failed statement has its SQLSTATE, and neither SQL nor parameters', async () => {
  const secret = 'the prompt of a user';
  await direct.execute(sql`insert into writes values (${secret}, 1)`);
  const failures = [
    () => direct.execute(sql`insert into writes values (${secret}, 1)`),
    () => direct.execute(sql`select ${secret}::integer`),
    () => direct.transaction((transaction) => transaction.execute(sql`insert into writes values (${secret}, 2)`)),
  ];
  for (const [at, code] of ['23505', '22P02', '23505'].entries()) {
    const error = await failures[at]!().then(
      () => assert.fail('did not fail'),
      (thrown: unknown) => thrown,
    );
    assert.ok(error instanceof StatementError);
    assert.equal(error.code, code);
    assert.equal(error.effect, code === '22P02' ? 'none' : 'not_stored');
    const printed = inspect(error, { showHidden: true, depth: 9 });
    assert.ok(!printed.includes(secret) && !printed.includes('insert into'), printed);
  }
});

test('a lost acknowledgement of COMMIT is an unknown outcome, a cut before it is not', async () => {
  const { db, close } = connect(proxy.url, { max: 1 });
  proxy.loseAnswerTo('commit');
  const lost = write(db, 'acknowledgement');
  await assert.rejects(lost, (error) => error instanceof StatementError && error.effect === 'unknown');
  proxy.loseAnswerTo('insert into');
  await assert.rejects(
    write(db, 'before'),
    (error) => error instanceof StatementError && error.effect === 'not_stored',
  );
  proxy.loseAnswerTo('insert into');
  const single = db.execute(sql`insert into writes values ('single', 1)`);
  await assert.rejects(single, (error) => error instanceof StatementError && error.effect === 'unknown');
  proxy.loseAnswerTo('select');
  const read = db.execute(sql`select 1`);
  await assert.rejects(read, (error) => error instanceof StatementError && error.effect === 'none');
  const ids = await readIds();
  assert.deepEqual(
    ['acknowledgement a', 'acknowledgement b', 'before a', 'before b', 'single'].map((id) => ids.has(id)),
    [true, true, false, false, true],
  );
  await close();
});

test('a stalled network gives up within the limits, and the pool recovers', { timeout: 120_000 }, async () => {
  const { db, close } = connect(proxy.url, { max: 2, limits: 'server' });
  await write(db, 'before the stall');
  proxy.stall();
  const stalled = Array.from({ length: 4 }, (_, at) => write(db, `stalled ${at}`).catch((error: unknown) => error));
  for (const error of await Promise.all(stalled)) {
    assert.ok(error instanceof StatementError, `${error}`);
    assert.equal(error.effect, 'not_stored');
  }
  await proxy.forward();
  await write(db, 'after the stall');
  await close();
});

test('a transaction that awaits something else after its connection was lost runs nothing more', async () => {
  const { db, close } = connect(proxy.url, { max: 1 });
  let isResumed = false;
  const late = db.transaction(async (transaction) => {
    await transaction.execute(sql`insert into writes values ('late a', 1)`);
    proxy.reset();
    await sleep(300);
    isResumed = true;
    await transaction.execute(sql`insert into writes values ('late b', 2)`);
  });
  await assert.rejects(late, (error) => error instanceof StatementError && error.effect === 'not_stored');
  // The pool's only connection serves others by the time the callback goes on.
  while (!isResumed) await write(db, `meanwhile ${performance.now()}`);
  await sleep(100);
  const ids = await readIds();
  assert.ok(!ids.has('late a') && !ids.has('late b'));
  await close();
});

test('a transaction whose callback catches an error and returns is rolled back', async () => {
  const attempt = direct.transaction(async (transaction) => {
    await transaction.execute(sql`insert into writes values ('caught', 1)`);
    await transaction.execute(sql`select 1 / 0`).catch(() => {});
  });
  await assert.rejects(attempt, (error) => error instanceof StatementError && error.effect === 'not_stored');
  assert.ok(!(await readIds()).has('caught'));
});
