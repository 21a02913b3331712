// REQUEST_TIMEOUT for running and queued generations, and fair scheduling between API keys.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eq } from 'drizzle-orm';
import { selectGenerations } from '../shared/database/generations.ts';
import { completions } from '../shared/database/schema.ts';
import { makeLongRequests, startEdgeServer, withEdge } from '../testing/edge-server.ts';
import { waitUntil } from '../testing/wait-until.ts';

const server = await startEdgeServer();
const { db } = server.connection;
const { brief, endless } = await makeLongRequests(server);

test('a generation past its deadline gets a non-retryable 504 and frees its batch slot', async () => {
  await withEdge(server, { REQUEST_TIMEOUT: '0.8', MAX_ROWS: '1' }, async (send) => {
    assert.equal((await send('/v1/completions', brief)).status, 200);
    const late = await send('/v1/completions', { ...endless, user: 'late' });
    assert.equal(late.status, 504);
    assert.equal(late.body.error.code, 'deadline_exceeded');
    assert.equal(late.headers.get('x-should-retry'), 'false');
    assert.equal((await send('/v1/completions', brief)).status, 200);
    const [row] = await selectGenerations(db).where(eq(completions.user, 'late'));
    assert.equal(row?.finish_reason, 'cancelled');
    assert.ok(row.token_ids.length > 0 && row.token_ids.length < 4000);
  });
});

test('a comparison whose stream ends with its deadline, or is left, is none', async () => {
  await withEdge(server, { REQUEST_TIMEOUT: '0.8' }, async (send, url) => {
    const json = { ...endless, stream: true, user: 'sides' };
    const { text } = await send('/v1/comparisons', json);
    assert.match(text, /"side":"a".*"side":"b"/s);
    assert.match(text, /"code":"deadline_exceeded"\}\}\n\n$/);
    const abort = new AbortController();
    const response = await fetch(`${url}/v1/comparisons`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(json),
      signal: abort.signal,
    });
    for await (const _ of response.body!) break;
    abort.abort();
    assert.equal((await send('/v1/completions', brief)).status, 200);
    assert.deepEqual(await selectGenerations(db).where(eq(completions.user, 'sides')), []);
  });
});

test('a request still queued at its deadline gets a retryable 503 and is not stored', async () => {
  await withEdge(server, { REQUEST_TIMEOUT: '0.8', MAX_ROWS: '1' }, async (send) => {
    assert.equal((await send('/v1/completions', brief)).status, 200);
    const all = Array.from({ length: 24 }, () => send('/v1/completions', { ...endless, user: 'many' }));
    const responses = await Promise.all(all);
    assert.ok(responses.every(({ status }) => status === 504 || status === 503));
    const timedOut = responses.filter(({ status }) => status === 503);
    assert.ok(timedOut.length > 0 && timedOut.length < 24);
    for (const { body, headers } of timedOut) {
      assert.equal(body.error.code, 'queue_timeout');
      assert.equal(headers.get('x-should-retry'), 'true');
      assert.ok(headers.get('retry-after'));
    }
    const rows = await selectGenerations(db).where(eq(completions.user, 'many'));
    assert.equal(rows.length, 24 - timedOut.length);
  });
});

test('a key with few requests does not wait for a key with many, and users of one key share its turn', async () => {
  const env = { API_KEY: 'greedy-secret-key,modest-secret-key', MAX_ROWS: '1' };
  await withEdge(server, env, async (send, url) => {
    const greedy = { authorization: 'Bearer greedy-secret-key' };
    const modest = { authorization: 'Bearer modest-secret-key' };
    const work = { ...endless, max_tokens: 150 };
    assert.equal((await send('/v1/completions', brief, greedy)).status, 200);
    const order: string[] = [];
    const complete = async (name: string, headers: Record<string, string>, user: string) => {
      const { status } = await send('/v1/completions', { ...work, user }, headers);
      assert.equal(status, 200);
      order.push(name);
    };
    const all = Array.from({ length: 10 }, (_, at) => complete('greedy', greedy, `user ${at}`));
    await waitUntil(async () => {
      // Before the metrics: what ends while they are read was waiting then.
      const done = order.length;
      const metrics = await (await fetch(`${url}/metrics`)).text();
      const waiting = Number(/^vllm:num_requests_waiting\{.*\} (\d+)$/m.exec(metrics)?.[1]);
      return done + 1 + waiting >= 10;
    });
    const before = order.length;
    all.push(complete('greedy, another user', greedy, 'somebody else'), complete('modest', modest, 'user 0'));
    await Promise.all(all);
    // Each generation is committed before its response, so neighbours can swap places.
    assert.ok(order.indexOf('modest') < before + 5, order.join());
    assert.ok(order.indexOf('greedy, another user') >= 10, order.join());
  });
});
