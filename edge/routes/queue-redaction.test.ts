import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Json, startEdgeServer } from '../../testing/edge-server.ts';
import { listTablesWith } from '../../testing/stored-rows.ts';

const server = await startEdgeServer({ REDACT: 'pii' });
const { post } = server;
const EMAIL = 'zed.canary@example.com';

test('REDACT replaces what is personal in the groups of items and in why a rater was paused', async () => {
  const queue = await post('/v1/queues', { name: 'redacted', gold_share: 0, repeat_share: 0 });
  const rows = [1, 2].map((at) => ({ prompt: `Once ${at}`, group: `mails of ${EMAIL}`, a: 'good', b: 'bad' }));
  const body = rows.map((row) => JSON.stringify(row)).join('\n');
  const headers = { 'content-type': 'application/jsonl' };
  await server.request(`/v1/queues/${queue.id}/items`, { method: 'POST', body, headers });
  const items = (await server.request(`/v1/queues/${queue.id}/items`)).body.data;
  assert.deepEqual(
    items.map(({ group }: Json) => group),
    ['mails of [EMAIL]', 'mails of [EMAIL]'],
  );
  const paused = await post(`/v1/queues/${queue.id}/raters/user:ann/pause`, { reason: `ask ${EMAIL}` });
  assert.deepEqual(paused.paused, { reason: 'ask [EMAIL]' });
  const next = await post(`/v1/queues/${queue.id}/next`, { rater: 'ann' });
  assert.deepEqual([next.reason, next.message], ['paused', 'ask [EMAIL]']);
  assert.deepEqual(await listTablesWith(server.connection.db, 'zed.canary'), []);
});
