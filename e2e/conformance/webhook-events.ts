// The outbox of webhooks, and sending an event again.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eq, sql } from 'drizzle-orm';
import { webhook_events } from '../../shared/database/schema.ts';
import { newId } from '../../shared/id.ts';
import type { Json } from '../../testing/edge-server.ts';
import { type Api, KEYS } from './api.ts';
import { assertError } from './errors.ts';

export function testWebhookEvents(api: Api): void {
  const { request, server } = api;
  const { db } = server.connection;
  const insert = async (values: Partial<typeof webhook_events.$inferInsert>): Promise<string> => {
    const id = newId('evt_');
    await db.insert(webhook_events).values({ id, type: 'policy.activated', data: { id: 'pol_a' }, ...values });
    return id;
  };
  const list = async (query: string): Promise<Json> => {
    const { status, body, text } = await request(`/v1/webhook-events?${query}`);
    assert.equal(status, 200, text);
    return body;
  };

  test('events are listed newest first, by state and in pages', async () => {
    const delivered = await insert({ delivered_at: new Date(), attempts: 2 });
    const givenUp = await insert({
      given_up_at: new Date(),
      attempts: 11,
      last_error: 'the receiver responded with 503',
    });
    const pending = await insert({ type: 'canary.started', data: { id: 'canary_a' } });
    const page = await list('limit=3');
    assert.deepEqual(
      page.data.map(({ id, state }: Json) => [id, state]),
      [
        [pending, 'pending'],
        [givenUp, 'given_up'],
        [delivered, 'delivered'],
      ],
    );
    assert.deepEqual([page.first_id, page.last_id], [pending, delivered]);
    const [first, second] = page.data;
    assert.deepEqual([first.type, first.data, first.attempts], ['canary.started', { id: 'canary_a' }, 0]);
    assert.ok(first.next_at > 0 && first.delivered_at === null);
    assert.deepEqual([second.next_at, second.last_error], [null, 'the receiver responded with 503']);
    assert.deepEqual((await request(`/v1/webhook-events/${givenUp}`)).body, second);
    assert.equal((await list(`limit=1&after=${pending}`)).data[0].id, givenUp);
    for (const [state, id] of Object.entries({ pending, delivered, given_up: givenUp })) {
      const { data } = await list(`limit=1&state=${state}`);
      assert.equal(data[0].id, id);
    }
    for (const [query, status, param] of [
      ['state=lost', 400, 'state'],
      ['order=asc', 400, 'order'],
      ['limit=0', 400, 'limit'],
      ['after=evt_0', 404, 'after'],
    ] as const) {
      const refused = await request(`/v1/webhook-events?${query}`);
      assertError(refused, status);
      assert.equal(refused.body.error.param, param);
    }
    assertError(await request('/v1/webhook-events/evt_0'), 404);
  });

  test('an event is sent again with its id: it is due now, and its attempts begin anew', async () => {
    const id = await insert({
      given_up_at: new Date(),
      attempts: 11,
      last_error: 'no response within 10 s',
      next_at: new Date(Date.now() + 3_600_000),
    });
    const headers = { authorization: `Bearer ${KEYS[0]}`, 'idempotency-key': `again ${id}` };
    const send = () => request(`/v1/webhook-events/${id}/resend`, { json: {}, headers });
    const { status, body } = await send();
    assert.equal(status, 200);
    assert.deepEqual([body.id, body.state, body.attempts, body.last_error], [id, 'pending', 0, null]);
    assert.ok(Math.abs(body.next_at - Date.now() / 1000) < 60);
    // Nobody delivers here: a repetition of the request would undo what a delivery has written since.
    await db.update(webhook_events).set({ delivered_at: sql`now()`, attempts: 1 }).where(eq(webhook_events.id, id));
    assert.deepEqual((await send()).body, body);
    assert.equal((await request(`/v1/webhook-events/${id}`)).body.state, 'delivered');
    const { data } = (await request('/v1/audit?limit=5')).body;
    const audited = data.filter(({ action, target }: Json) => action === 'webhook.resent' && target === id);
    assert.deepEqual(audited.length, 1);
    assertError(await request('/v1/webhook-events/evt_0/resend', { json: {} }), 404);
  });

  test('a pause of a rater is told to operators of the queue’s tenant, and to administrators', async () => {
    const openKey = async (tenant: string) => {
      const { body } = await request('/v1/keys', { json: { name: 'operator', scopes: ['operate'], tenant } });
      return { authorization: `Bearer ${body.key}` };
    };
    const here = await openKey(`events.${api.runtime}`);
    const there = await openKey(`others.${api.runtime}`);
    const queue = (await request('/v1/queues', { json: { name: 'paused', max_tokens: 8 }, headers: here })).body.id;
    const id = await insert({ type: 'rater.paused', data: { queue, rater: 'rater_1', reason: 'too fast' } });
    const [all] = (await list('limit=1')).data;
    assert.equal(all.id, id);
    const read = async (headers: Record<string, string>): Promise<Json> =>
      (await request('/v1/webhook-events?limit=1', { headers })).body.data[0];
    assert.deepEqual(await read(here), all);
    assert.notEqual((await read(there)).id, id);
    for (const path of [`/v1/webhook-events/${id}`, `/v1/webhook-events?after=${id}`])
      assertError(await request(path, { headers: there }), 404);
    const resend = `/v1/webhook-events/${id}/resend`;
    assertError(await request(resend, { json: {}, headers: there }), 404);
    assert.equal((await request(resend, { json: {}, headers: here })).status, 200);
  });
}
