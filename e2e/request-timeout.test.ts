// Time and turns: what a generation past its deadline gets, and in which order tenants are served.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eq } from 'drizzle-orm';
import { generations } from '../shared/database/schema.ts';
import { setStage } from '../testing/edge-server.ts';
import { bePatient, until, withEdge } from '../testing/extra-edge.ts';

const stage = await setStage();
const { db } = stage.connection;
const { brief, endless } = await bePatient(stage);

test('a generation past its deadline ends with 504, not to be retried, and frees its row', async () => {
  await withEdge(stage, { REQUEST_TIMEOUT: '0.8', MAX_ROWS: '1' }, async (send) => {
    assert.equal((await send('/v1/completions', brief)).status, 200);
    const late = await send('/v1/completions', { ...endless, user: 'late' });
    assert.equal(late.status, 504);
    assert.equal(late.body.error.code, 'deadline_exceeded');
    assert.equal(late.headers.get('x-should-retry'), 'false');
    assert.equal((await send('/v1/completions', brief)).status, 200);
    const [row] = await db.select().from(generations).where(eq(generations.user, 'late'));
    assert.equal(row?.finish_reason, 'cancelled');
    assert.ok(row.token_ids.length > 0 && row.token_ids.length < 4000);
  });
});

test('what is still in the queue at its deadline gets 503 and may try again, and leaves nothing behind', async () => {
  await withEdge(stage, { REQUEST_TIMEOUT: '0.8', MAX_ROWS: '1' }, async (send) => {
    assert.equal((await send('/v1/completions', brief)).status, 200);
    const all = Array.from({ length: 24 }, () => send('/v1/completions', { ...endless, user: 'many' }));
    const answers = await Promise.all(all);
    assert.ok(answers.every(({ status }) => status === 504 || status === 503));
    const waited = answers.filter(({ status }) => status === 503);
    assert.ok(waited.length > 0 && waited.length < 24);
    for (const { body, headers } of waited) {
      assert.equal(body.error.code, 'queue_timeout');
      assert.equal(headers.get('x-should-retry'), 'true');
      assert.ok(headers.get('retry-after'));
    }
    const rows = await db.select().from(generations).where(eq(generations.user, 'many'));
    assert.equal(rows.length, 24 - waited.length);
  });
});

test('a key that asks for little is not kept waiting by one that asks for much, and users of one key make no difference', async () => {
  const env = { API_KEY: 'greedy-secret-key,modest-secret-key', MAX_ROWS: '1' };
  await withEdge(stage, env, async (send, url) => {
    const greedy = { authorization: 'Bearer greedy-secret-key' };
    const modest = { authorization: 'Bearer modest-secret-key' };
    const work = { ...endless, max_tokens: 150 };
    assert.equal((await send('/v1/completions', brief, greedy)).status, 200);
    const order: string[] = [];
    const ask = async (name: string, headers: Record<string, string>, user: string) => {
      const { status } = await send('/v1/completions', { ...work, user }, headers);
      assert.equal(status, 200);
      order.push(name);
    };
    const all = Array.from({ length: 10 }, (_, at) => ask('greedy', greedy, `user ${at}`));
    await until(async () => {
      const told = await (await fetch(`${url}/metrics`)).text();
      const waiting = Number(/^vllm:num_requests_waiting\{.*\} (\d+)$/m.exec(told)?.[1]);
      return order.length + 1 + waiting >= 10;
    });
    const before = order.length;
    all.push(ask('greedy, another user', greedy, 'somebody else'), ask('modest', modest, 'user 0'));
    await Promise.all(all);
    // Each answer is committed before it is given, so neighbours may change places.
    assert.ok(order.indexOf('modest') < before + 5, order.join());
    assert.ok(order.indexOf('greedy, another user') >= 10, order.join());
  });
});
