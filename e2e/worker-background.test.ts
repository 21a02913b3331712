// The cron and the queue of edge/worker.ts in workerd, as wrangler.toml configures them.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startEdgeServer } from '../testing/edge-server.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { WebhookReceiver } from '../testing/webhook-receiver.ts';
import { startWorkerServer } from '../testing/worker-server.ts';

const server = await startEdgeServer({ PRECISION: 'fp32' });
const receiver = await new WebhookReceiver().open();
const { url, worker, uploadPolicy } = await startWorkerServer(server.databaseUrl, {
  TRAIN_MIN_PAIRS: '1',
  TRAIN_SCHEDULE: '0,30 * * * *',
  ...receiver.settings,
});
const send = async (path: string, json?: unknown) => {
  const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(json) };
  const response = await fetch(url + path, json === undefined ? {} : init);
  assert.equal(response.status, 200, path);
  return response.headers.get('content-type')?.includes('json') ? response.json() : response.text();
};
const tick = (time: string) => worker.scheduled({ scheduledTime: new Date(time), cron: '* * * * *' });

test('the cron requests one round at the times of TRAIN_SCHEDULE', async () => {
  const rounds = async () => (await send('/v1/rounds')).data.map(({ trigger }: { trigger: string }) => trigger);
  await tick('2026-01-01T00:30:00Z');
  assert.deepEqual(await rounds(), []);
  await send('/v1/preferences', { prompt: 'Say hi', chosen: 'Hello!', rejected: 'Go away.' });
  await tick('2026-01-01T00:31:00Z');
  assert.deepEqual(await rounds(), []);
  for (let ticks = 0; ticks < 3; ticks++) await tick('2026-01-01T01:00:00Z');
  assert.deepEqual(await rounds(), ['schedule']);
});

test('the queue sends the webhook of a promotion without waiting for the cron', async () => {
  const id = await server.importTiny(2);
  await uploadPolicy(await server.localStore.getFolder(id));
  await send(`/v1/policies/${id}/promote`, {});
  const webhook = await waitUntil(async () => receiver.received.find(({ body }) => body.data.id === id));
  assert.equal(webhook.body.type, 'policy.activated');
});

test('responses of isolates are counted in /metrics through the queue', async () => {
  await send('/v1/models');
  const line = /attune_http_request_duration_seconds_count\{method="GET",route="\/v1\/models",status="200"\} [1-9]/;
  await waitUntil(async () => line.test(await send('/metrics')));
});
