import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openTestDatabase } from '../../testing/database.ts';
import { waitUntil } from '../../testing/wait-until.ts';
import { AttuneError } from '../error.ts';
import { notifyChange } from './channels.ts';
import { subscribe } from './subscribe.ts';

const connection = await openTestDatabase();
const { db, sql } = connection;
const CHANNEL = 'attune_changes';

const follow = (pollIntervalMs: number, handler: () => Promise<void>) =>
  subscribe(connection, CHANNEL, { name: 'test', pollIntervalMs }, handler);

test('the handler runs at the start and at each notification', async () => {
  let runs = 0;
  const subscription = await follow(60_000, async () => void runs++);
  await subscription.firstRun;
  assert.equal(runs, 1);
  for (let count = 2; count < 5; count++) {
    const changed = subscription.waitForChange(10_000);
    await notifyChange(db, 'x');
    await waitUntil(() => runs === count);
    await changed;
  }
  await subscription.close();
  await notifyChange(db, 'x');
  await sleep(200);
  assert.equal(runs, 4);
});

test('without a notification the handler runs at the next poll', async () => {
  let runs = 0;
  const subscription = await follow(50, async () => void runs++);
  await waitUntil(() => runs >= 3);
  const startMs = performance.now();
  await subscription.waitForChange(100);
  assert.ok(performance.now() - startMs > 90, 'a poll does not count as a notification');
  await subscription.close();
});

test('runs never overlap, and notifications during one cause one more', async () => {
  let runs = 0;
  let running = 0;
  let finish = () => {};
  const subscription = await follow(60_000, async () => {
    runs++;
    assert.equal(++running, 1);
    await new Promise<void>((resolve) => (finish = resolve));
    running--;
  });
  for (let count = 0; count < 5; count++) await notifyChange(db, 'x');
  await sleep(200);
  assert.equal(runs, 1);
  finish();
  await waitUntil(() => runs === 2);
  const closed = subscription.close();
  await sleep(100);
  assert.equal(running, 1, 'closing waits for the handler');
  finish();
  await closed;
  assert.equal(runs, 2);
});

test('a failed run is reported and repeated at the next poll, not at once', async () => {
  const log = mock.method(console, 'error', () => {});
  const errors = [
    new AttuneError('wrong input'),
    new Error('a bug'),
    Object.assign(new Error(), { code: 'ECONNRESET' }),
  ];
  let runs = 0;
  const subscription = await follow(100, async () => {
    const error = errors[runs++];
    await notifyChange(db, 'during the run');
    await sleep(30);
    if (error) throw error;
  });
  await waitUntil(() => runs >= 4);
  await subscription.close();
  log.mock.restore();
  assert.deepEqual(
    log.mock.calls.map(({ arguments: [message] }) => String(message).split('\n')[0]),
    ['test: wrong input', 'test: internal: unexpected error'],
  );
});

test('a subscription whose connection is cut listens again and runs the handler at once', async () => {
  let runs = 0;
  const subscription = await follow(60_000, async () => void runs++);
  await subscription.firstRun;
  await sql`select pg_terminate_backend(pid) from pg_stat_activity where query ilike 'listen %'`;
  await waitUntil(() => runs === 2);
  await notifyChange(db, 'x');
  await waitUntil(() => runs === 3);
  await subscription.close();
});
