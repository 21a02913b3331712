import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import { connect } from '../shared/database/connect.ts';
import { openTestDatabase } from '../testing/database.ts';
import { openTcpProxy } from '../testing/tcp-proxy.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { watchPostgres } from './postgres-watchdog.ts';

const { url } = await openTestDatabase();
const proxy = await openTcpProxy(url);
const TIMES = { limitMs: 1000, intervalMs: 100, connectMs: 1000 };

test('a pool that never gets a connection back is stuck, once', async () => {
  const connection = connect(url, { max: 1 });
  let times = 0;
  watchPostgres(connection, () => times++, TIMES);
  let release = () => {};
  const leaked = connection.db.transaction(async () => {
    await new Promise<void>((resolve) => {
      release = resolve;
    });
  });
  await waitUntil(() => times === 1, 20_000);
  await sleep(1500);
  assert.equal(times, 1);
  release();
  await leaked;
  await connection.close();
});

test('neither an unreachable Postgres nor a busy pool is', async () => {
  const away = connect(proxy.url, { max: 2 });
  await proxy.refuse();
  const busy = connect(url, { max: 1 });
  const stuck: string[] = [];
  const watchdogs = [
    watchPostgres(away, () => stuck.push('unreachable'), TIMES),
    watchPostgres(busy, () => stuck.push('busy'), TIMES),
  ];
  await Promise.all(Array.from({ length: 12 }, () => busy.db.execute(sql`select pg_sleep(0.25)`)));
  assert.deepEqual(stuck, []);
  for (const watchdog of watchdogs) watchdog.close();
  await Promise.all([away.close(), busy.close()]);
});

test('nor is a process that was paused', async () => {
  const connection = connect(url, { max: 1 });
  await connection.db.execute(sql`select 1`);
  let times = 0;
  const watchdog = watchPostgres(connection, () => times++, TIMES);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3 * TIMES.limitMs);
  await sleep(1500);
  assert.equal(times, 0);
  watchdog.close();
  await connection.close();
});
