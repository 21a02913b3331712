// The pool under a network that cuts, resets and stalls connections, through a proxy to a real Postgres.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import { openTestDatabase } from '../../testing/database.ts';
import { openTcpProxy } from '../../testing/tcp-proxy.ts';
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
        await transaction.execute(sql`select pg_sleep(30)`);
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
