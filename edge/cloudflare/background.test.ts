import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import type { MessageBatch } from '@cloudflare/workers-types';
import { eq, sql } from 'drizzle-orm';
import { startCanary } from '../../shared/canary/canaries.ts';
import { addPolicyMinutes } from '../../shared/canary/policy-minutes.ts';
import { connect } from '../../shared/database/connect.ts';
import {
  answer_batches,
  answer_counts,
  canaries,
  policy_minutes,
  preferences,
  rounds,
  webhook_events,
} from '../../shared/database/schema.ts';
import { readSettings } from '../../shared/settings.ts';
import { activatePolicy, registerPolicy } from '../../shared/store/registry.ts';
import { openTestDatabase } from '../../testing/database.ts';
import { WebhookReceiver } from '../../testing/webhook-receiver.ts';
import { PolicyMinutes } from '../canary/policy-minutes.ts';
import { type BackgroundMessage, consumeBatch, isScheduledMinute, runScheduled } from './background.ts';

const { db, url } = await openTestDatabase();
const receiver = await new WebhookReceiver().open();
const settings = readSettings({ ...receiver.settings, TRAIN_MIN_PAIRS: '1', TRAIN_SCHEDULE: '30 3 * * *' });
const NIGHT = new Date('2026-03-01T03:30:29Z');
const DAY = new Date('2026-03-01T15:30:29Z');
await registerPolicy(db, { id: 'pol_a', name: 'a', manifest: {} });

beforeEach(async () => {
  await db.delete(webhook_events);
  receiver.received.length = 0;
  receiver.respond = (response) => response.writeHead(204).end();
});

/** A batch as Cloudflare delivers it; `outcomes` records the acknowledgement or retry delay of each message. */
function makeBatch(bodies: unknown[]) {
  const outcomes: (string | number)[] = bodies.map(() => 'nothing');
  const messages = bodies.map((body, at) => ({
    id: `message ${at}`,
    body,
    ack() {
      outcomes[at] = 'ack';
    },
    retry({ delaySeconds }: { delaySeconds: number }) {
      outcomes[at] = delaySeconds;
    },
  }));
  return { outcomes, batch: { queue: 'background', messages } as unknown as MessageBatch<unknown> };
}

/** A queue that collects its messages. */
function openQueue() {
  const messages: BackgroundMessage[] = [];
  return {
    messages,
    sendBatch: async (sent: Iterable<{ body: BackgroundMessage }>) =>
      void messages.push(...[...sent].map(({ body }) => body)) as never,
  };
}

test('a cron expression is matched in UTC and to the minute', () => {
  assert.equal(isScheduledMinute('30 3 * * *', NIGHT), true);
  assert.equal(isScheduledMinute('30 3 * * *', new Date('2026-03-01T03:31:00Z')), false);
  assert.equal(isScheduledMinute('*/15 * * * *', DAY), true);
  assert.equal(isScheduledMinute('*/15 * * * *', new Date('2026-03-01T15:29:59.999Z')), false);
  assert.equal(isScheduledMinute('0 0 * * SUN', new Date('2026-03-01T00:00:00Z')), true);
});

test('the cron requests one round in the minutes of TRAIN_SCHEDULE', async () => {
  await activatePolicy(db, 'pol_a', 'test');
  await db.insert(preferences).values({
    id: 'pref_1',
    source: 'raw',
    choice: 'a',
    rater: 'x',
    prompt: 'x',
    chosen: 'yes',
    rejected: 'no',
    content_hash: 'x',
  });
  await runScheduled(db, settings, openQueue(), DAY);
  assert.equal(await db.$count(rounds), 0);
  await Promise.all([1, 2, 3].map(() => runScheduled(db, settings, openQueue(), NIGHT)));
  assert.equal(await db.$count(rounds), 1);
});

test('the cron enqueues due webhooks, and each is sent once even if it is queued twice', async () => {
  for (const reason of ['one', 'two', 'three']) await activatePolicy(db, 'pol_a', reason);
  const queue = openQueue();
  await runScheduled(db, settings, queue, DAY);
  await runScheduled(db, settings, queue, DAY);
  assert.equal(queue.messages.length, 6);
  const first = makeBatch(queue.messages);
  const second = makeBatch(queue.messages);
  await Promise.all([
    consumeBatch(first.batch, db, settings, openQueue()),
    consumeBatch(second.batch, db, settings, openQueue()),
  ]);
  assert.deepEqual([...new Set([...first.outcomes, ...second.outcomes])], ['ack']);
  assert.deepEqual(receiver.received.map(({ body }) => body.data.reason).sort(), ['one', 'three', 'two']);
  const later = openQueue();
  await runScheduled(db, settings, later, DAY);
  assert.deepEqual(later.messages, []);
});

test('a refused webhook is retried when its event is due again', async () => {
  receiver.respond = (response) => response.writeHead(500).end();
  await activatePolicy(db, 'pol_a', 'refused');
  const queue = openQueue();
  await runScheduled(db, settings, queue, DAY);
  for (const pause of [5, 30, 120]) {
    const { outcomes, batch } = makeBatch(queue.messages);
    await consumeBatch(batch, db, settings, openQueue());
    assert.deepEqual(outcomes, [pause + 1]);
    await db.update(webhook_events).set({ next_at: sql`now()` });
  }
});

test('without WEBHOOK_URL nothing is enqueued, and queued webhooks are dropped without an attempt', async () => {
  await activatePolicy(db, 'pol_a', 'no webhook');
  const plain = readSettings({});
  const queue = openQueue();
  await runScheduled(db, plain, queue, DAY);
  assert.deepEqual(queue.messages, []);
  const [row] = await db.select().from(webhook_events);
  const { outcomes, batch } = makeBatch([{ kind: 'webhook', id: row!.id }]);
  await consumeBatch(batch, db, plain, openQueue());
  assert.deepEqual(outcomes, ['ack']);
  assert.equal((await db.select().from(webhook_events))[0]!.attempts, 0);
});

test('what the policies served is added once, however often its message is delivered', async () => {
  const minutes = new PolicyMinutes();
  minutes.add('pol_a', { requests: 2, seconds: 1.5 });
  // As a queue carries it.
  const rows = JSON.parse(JSON.stringify(minutes.drain()));
  const messages = ['one', 'two', 'one'].map((id) => ({ kind: 'policy_minutes', id, rows }));
  for (let delivery = 0; delivery < 2; delivery++) {
    const { outcomes, batch } = makeBatch(messages);
    await consumeBatch(batch, db, settings, openQueue());
    assert.deepEqual(outcomes, ['ack', 'ack', 'ack']);
  }
  const stored = await db.select().from(policy_minutes);
  assert.deepEqual(
    stored.map(({ policy_id, requests, seconds, errors }) => ({ policy_id, requests, seconds, errors })),
    [{ policy_id: 'pol_a', requests: 4, seconds: 3, errors: 0 }],
  );
});

test('a canary is decided by the message of a vote, and by the cron', async () => {
  const start = async (policyId: string) => {
    await registerPolicy(db, { id: policyId, name: policyId, manifest: {} });
    await activatePolicy(db, 'pol_a', 'test');
    const { id } = await db.transaction((on) => startCanary(on, { policyId, share: 0.1, actor: 'test' }));
    // Attempts to load it that failed, which a guard goes by.
    const minute = new Date(Math.floor(Date.now() / 60_000) * 60_000);
    await addPolicyMinutes(db, [{ policy_id: policyId, minute, load_failures: 1000 }]);
    return async () => (await db.select().from(canaries).where(eq(canaries.id, id)))[0]!.state;
  };
  const byVote = await start('pol_b');
  const { outcomes, batch } = makeBatch([{ kind: 'vote' }, { kind: 'vote' }]);
  await consumeBatch(batch, db, settings, openQueue());
  assert.deepEqual([outcomes, await byVote()], [['ack', 'ack'], 'rolled_back']);
  const byCron = await start('pol_c');
  await runScheduled(db, settings, openQueue(), DAY);
  assert.equal(await byCron(), 'rolled_back');
});

test('a message of an unknown shape is dropped, and the others in its batch are handled', async (context) => {
  const log = context.mock.method(console, 'error', () => {});
  await activatePolicy(db, 'pol_a', 'neighbour');
  const [row] = await db.select().from(webhook_events);
  const count = { method: 'GET', route: '/neighbour', status: 200, bucket: 0, count: 1, seconds: 0 };
  const { outcomes, batch } = makeBatch([
    { kind: 'metrics', id: 'x', counts: [{ ...count, count: -1 }] },
    { kind: 'webhook', id: row!.id },
    null,
    { kind: 'metrics', id: 'y', counts: [count] },
  ]);
  await consumeBatch(batch, db, settings, openQueue());
  assert.deepEqual(outcomes, ['ack', 'ack', 'ack', 'ack']);
  assert.equal(log.mock.callCount(), 2);
  assert.equal(receiver.received.length, 1);
  assert.equal(await db.$count(answer_counts, sql`route = '/neighbour'`), 1);
});

test('without Postgres every message is retried later', async (context) => {
  context.mock.method(console, 'error', () => {});
  const gone = connect(url.replace(/:\d+\//, ':1/'), { max: 1 });
  const counts = [{ method: 'GET', route: '/', status: 200, bucket: 0, count: 1, seconds: 0 }];
  const { outcomes, batch } = makeBatch([
    { kind: 'webhook', id: 'evt_x' },
    { kind: 'metrics', id: 'z', counts },
  ]);
  await consumeBatch(batch, gone.db, settings, openQueue());
  assert.deepEqual(outcomes, [30, 30]);
  await gone.close();
});

test('a failing task of the cron is reported and does not stop the others', async () => {
  await db.insert(answer_batches).values({ id: 'old', created_at: new Date(Date.now() - 90_000_000) });
  await activatePolicy(db, 'pol_a', 'failing');
  const queue = { sendBatch: () => Promise.reject(new Error('the queue is gone')) };
  await assert.rejects(runScheduled(db, settings, queue, DAY), /the queue is gone/);
  assert.equal(await db.$count(answer_batches, sql`id = 'old'`), 0);
});
