// What edge/worker.ts does besides answering: its cron and its queue, as wrangler.toml wires them, in real workerd.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setStage } from '../testing/edge-server.ts';
import { until } from '../testing/extra-edge.ts';
import { WebhookReceiver } from '../testing/webhook-receiver.ts';
import { openWorker } from '../testing/worker-server.ts';

const stage = await setStage({ PRECISION: 'fp32' });
const receiver = await new WebhookReceiver().open();
const { url, worker, sendPolicy } = await openWorker(stage.databaseUrl, {
  TRAIN_MIN_PAIRS: '1',
  TRAIN_SCHEDULE: '0,30 * * * *',
  ...receiver.settings,
});
const ask = async (path: string, json?: unknown) => {
  const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(json) };
  const response = await fetch(url + path, json === undefined ? {} : init);
  assert.equal(response.status, 200, path);
  return response.headers.get('content-type')?.includes('json') ? response.json() : response.text();
};
const tick = (time: string) => worker.scheduled({ scheduledTime: new Date(time), cron: '* * * * *' });

test('the cron asks for a round in the minutes of TRAIN_SCHEDULE, once', async () => {
  const rounds = async () => (await ask('/v1/rounds')).data.map(({ trigger }: { trigger: string }) => trigger);
  await tick('2026-01-01T00:30:00Z');
  assert.deepEqual(await rounds(), []);
  await ask('/v1/preferences', { prompt: 'Say hi', chosen: 'Hello!', rejected: 'Go away.' });
  await tick('2026-01-01T00:31:00Z');
  assert.deepEqual(await rounds(), []);
  for (let ticks = 0; ticks < 3; ticks++) await tick('2026-01-01T01:00:00Z');
  assert.deepEqual(await rounds(), ['schedule']);
});

test('a promotion is told to the webhook by the queue, without waiting for the cron', async () => {
  const id = await stage.importTiny(2);
  await sendPolicy(await stage.shelf.folderOf(id));
  await ask(`/v1/policies/${id}/promote`, {});
  const told = await until(async () => receiver.received.find(({ body }) => body.data.id === id));
  assert.equal(told.body.type, 'policy.activated');
});

test('what the isolates answered shows in /metrics, by way of the queue', async () => {
  await ask('/v1/models');
  const line = /attune_http_request_duration_seconds_count\{method="GET",route="\/v1\/models",status="200"\} [1-9]/;
  await until(async () => line.test(await ask('/metrics')));
});
