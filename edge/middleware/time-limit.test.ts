import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Hono } from 'hono';
import { toErrorResponse } from '../http/errors.ts';
import { limitTime } from './time-limit.ts';

const app = new Hono();
app.onError((error, context) => toErrorResponse(context, error));
app.use('/slow', limitTime(0.05));
app.use('/fast', limitTime(60));
app.all('/slow', async () => {
  await sleep(200);
  throw new Error('too late to be reported');
});
app.all('/fast', (context) => context.text('done'));

async function send(method: string, path: string) {
  const response = await app.request(path, { method });
  const { error } = (await response.json()) as { error: { message: string; code: string } };
  return { status: response.status, retry: response.headers.get('x-should-retry'), ...error };
}

test('a write over the limit has an unknown outcome, and without a key is not safe to retry', async () => {
  const { status, retry, code, message } = await send('POST', '/slow');
  assert.deepEqual([status, retry, code], [503, 'false', 'postgres_outcome_unknown']);
  assert.match(message, /not known whether it was stored; repeat with the same Idempotency-Key/);
});

test('a read over the limit speaks of no storing', async () => {
  const { status, retry, code, message } = await send('GET', '/slow');
  assert.deepEqual([status, retry, code], [504, 'true', 'deadline_exceeded']);
  assert.doesNotMatch(message, /stored/);
});

test('a request within the limit is not changed, and a later failure of one over it goes nowhere', async () => {
  assert.equal(await (await app.request('/fast')).text(), 'done');
  await sleep(300);
});
