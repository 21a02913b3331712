// Background work in workerd with its queue: metrics, webhooks and the cron.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { sql } from 'drizzle-orm';
import { createTestHarness } from 'wrangler';
import { answer_counts, preferences, rounds, webhook_events } from '../shared/database/schema.ts';
import { newId } from '../shared/id.ts';
import { activatePolicy, registerPolicy } from '../shared/store/registry.ts';
import { WRANGLER_OFFLINE_ENV } from '../shared/wrangler-env.ts';
import { openTestDatabase } from '../testing/database.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { WebhookReceiver } from '../testing/webhook-receiver.ts';

const { db, url: databaseUrl } = await openTestDatabase();
const receiver = await new WebhookReceiver().open();
await registerPolicy(db, { id: 'pol_a', name: 'a', manifest: {} });

Object.assign(process.env, WRANGLER_OFFLINE_ENV);
const server = createTestHarness({
  root: fileURLToPath(new URL('..', import.meta.url)),
  workers: [
    {
      config: {
        name: 'background',
        main: 'e2e/background-worker.ts',
        compatibility_date: '2026-10-01',
        compatibility_flags: ['nodejs_compat'],
        vars: receiver.settings,
        hyperdrive: [{ binding: 'HYPERDRIVE', id: '0', localConnectionString: databaseUrl }],
        queues: {
          producers: [{ binding: 'BACKGROUND', queue: 'background' }],
          consumers: [{ queue: 'background', max_batch_size: 100, max_batch_timeout: 1, max_retries: 3 }],
        },
      },
    },
  ],
});
await server.listen();
after(() => server.close());
const worker = server.getWorker();
const tick = (scheduledTime = new Date()) => worker.scheduled({ scheduledTime, cron: '* * * * *' });

test('two hundred concurrent requests are all counted', { timeout: 60_000 }, async () => {
  const responses = await Promise.all(Array.from({ length: 200 }, () => worker.fetch('http://x/')));
  for (const response of responses) assert.equal(await response.text(), 'counted');
  const counted = async () => (await db.select().from(answer_counts))[0]?.count ?? 0;
  await waitUntil(async () => (await counted()) === 200, 30_000);
  const text = await (await worker.fetch('http://x/metrics')).text();
  const labels = 'method="GET",route="/counted",status="200"';
  assert.match(text, new RegExp(`_bucket\\{le="0.1",${labels}\\} 0\n`));
  assert.match(text, new RegExp(`_bucket\\{le="0.25",${labels}\\} 200\n`));
  assert.match(text, new RegExp(`_sum\\{${labels}\\} 50\n`));
});

test('the cron sends a signed webhook through the queue', { timeout: 60_000 }, async () => {
  await activatePolicy(db, 'pol_a', 'from a Worker');
  await tick();
  await waitUntil(() => receiver.received.length === 1, 30_000);
  assert.deepEqual(receiver.received[0]!.body.data, { id: 'pol_a', reason: 'from a Worker', previous: null });
  await waitUntil(async () => (await db.$count(webhook_events, sql`delivered_at is not null`)) === 1);
});

test('the queue retries a webhook until its receiver accepts it', { timeout: 60_000 }, async () => {
  receiver.received.length = 0;
  receiver.respond = (response) => response.writeHead(receiver.received.length === 1 ? 500 : 204).end();
  await activatePolicy(db, 'pol_a', 'rejected once');
  await tick();
  await waitUntil(() => receiver.received.length === 2, 30_000);
  const [first, second] = receiver.received;
  assert.equal(first!.id, second!.id);
  assert.ok(second!.timestamp - first!.timestamp >= 5);
  await waitUntil(async () => (await db.$count(webhook_events, sql`delivered_at is null`)) === 0);
  assert.deepEqual(receiver.rejected, []);
});

test('the cron requests a round that is due', { timeout: 60_000 }, async () => {
  const id = newId('pref_');
  const pair = { prompt: 'x', chosen: 'yes', rejected: 'no', content_hash: id };
  await db.insert(preferences).values({ id, source: 'raw', choice: 'a', rater: 'x', ...pair });
  await tick();
  await tick();
  const requested = await db.select().from(rounds);
  assert.deepEqual(
    requested.map(({ trigger, status }) => [trigger, status]),
    [['schedule', 'queued']],
  );
});
