// Rounds through the API. No trainer runs: the tests write the rows that a trainer would.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eq } from 'drizzle-orm';
import { round_events, round_metrics, rounds } from '../../shared/database/schema.ts';
import type { Json } from '../../testing/edge-server.ts';
import type { Api } from './api.ts';
import { assertError } from './errors.ts';
import { followEvents, parseEvents, type ServerEvent } from './server-sent-events.ts';

export function testRounds(api: Api): void {
  const { request, client, server } = api;
  const { db } = server.connection;
  const update = (id: string, values: Partial<typeof rounds.$inferInsert>) =>
    db.update(rounds).set(values).where(eq(rounds.id, id));
  const addEvents = (round_id: string, ...messages: string[]) =>
    db.insert(round_events).values(
      messages.map((message) => ({
        round_id,
        level: 'info' as const,
        type: 'message' as const,
        message,
        data: { text: message },
      })),
    );

  test('a round can be requested with and without a method, retrieved and listed', async () => {
    for (const body of [{}, { method: { type: 'dil', dil: { objective: 'ukl', lora_targets: ['q_proj'] } } }]) {
      const round: Json = await client.post('/rounds', { body });
      assert.match(round.id, /^round_/);
      assert.deepEqual([round.status, round.stage, round.trigger], ['queued', 'queued', 'api']);
      assert.deepEqual(round.method, { type: 'dil', dil: body.method?.dil ?? {} });
      assert.deepEqual((await request(`/v1/rounds/${round.id}`)).body, round);
      assert.deepEqual((await request('/v1/rounds?limit=1')).body.data, [round]);
    }
  });

  test('a round can train a reward, with the settings of one', async () => {
    for (const reward of [{}, { reward_loss: 'density_ratio', epochs: 2 }]) {
      const round: Json = await client.post('/rounds', { body: { method: { type: 'reward', reward } } });
      assert.deepEqual([round.method, round.policy, round.reward], [{ type: 'reward', reward }, null, null]);
      await update(round.id, { status: 'succeeded', stage: 'published', policy_id: 'rwd_1' });
      const { body } = await request(`/v1/rounds/${round.id}`);
      assert.deepEqual([body.policy, body.reward], [null, 'rwd_1']);
    }
    const json = { method: { type: 'reward', reward: { gate_kl: 1 } } };
    const { status, body } = await request('/v1/rounds', { json });
    assert.deepEqual([status, body.error.param], [400, 'method.reward.gate_kl']);
    const unused = { reward_loss: 'bradley_terry', negatives: 'both' };
    const refused = await request('/v1/rounds', { json: { method: { type: 'reward', reward: unused } } });
    assert.deepEqual([refused.status, refused.body.error.param], [400, 'method.reward.negatives']);
    const dil = { objective: 'lsif', reward: `rwd_${'0'.repeat(32)}` };
    const { status: second, body: answer } = await request('/v1/rounds', { json: { method: { type: 'dil', dil } } });
    assert.deepEqual([second, answer.error.param], [400, 'method.dil.reward']);
  });

  test('a round can be requested from the root and cancelled once, and a repeated request gets the first response', async () => {
    const round: Json = await client.post('/rounds', { body: { from_root: true } });
    assert.deepEqual([round.from_root, round.parent, round.baseline], [true, null, null]);
    const cancel = (key: string) =>
      request(`/v1/rounds/${round.id}/cancel`, { method: 'POST', headers: { 'idempotency-key': key } });
    const first = await cancel(`${round.id} first`);
    assert.deepEqual([first.status, first.body.status, first.body.stage], [200, 'cancelled', 'cancelled']);
    assert.deepEqual((await request(`/v1/rounds/${round.id}`)).body, first.body);
    assert.deepEqual((await cancel(`${round.id} first`)).body, first.body);
    const second = await cancel(`${round.id} second`);
    assert.deepEqual([second.status, second.body.error.code], [409, 'round_ended']);
    assert.equal(second.headers.get('x-should-retry'), 'false');
    assert.equal((await request('/v1/rounds/round_unknown/cancel', { method: 'POST' })).status, 404);
    const events = parseEvents((await request(`/v1/rounds/${round.id}/events`)).text);
    assert.equal(JSON.parse(events[0]!.data).message, 'cancelled while queued');
    assert.equal((await request('/v1/rounds', { json: { from_root: 'yes' } })).status, 400);
    const rewardFromRoot = await request('/v1/rounds', { json: { method: { type: 'reward' }, from_root: true } });
    assert.deepEqual([rewardFromRoot.status, rewardFromRoot.body.error.param], [400, 'from_root']);
  });

  test('a key with the scope train may be stricter than the settings, and only operate looser', async () => {
    const createKey = async (...scopes: string[]) =>
      (await request('/v1/keys', { json: { name: 'trains', scopes } })).body.key;
    const requestBy = async (key: string, dil: Json) => {
      const json = { method: { type: 'dil', dil } };
      return request('/v1/rounds', { json, headers: { authorization: `Bearer ${key}` } });
    };
    const [trains, operates] = [await createKey('train'), await createKey('train', 'operate')];
    const strict = await requestBy(trains, { gate_kl: 1, learning_rate: 1e-6, seed: 2 });
    assert.equal(strict.status, 200);
    const loose: Json = { gate_kl: 1000, gate_chosen_drop: 5, learning_rate: 0.1, objective: 'dpo', effort: 3 };
    for (const [name, value] of Object.entries(loose)) {
      const refused = await requestBy(trains, { [name]: value });
      assertError(refused, 403, name);
      assert.deepEqual(
        [refused.body.error.code, refused.body.error.param],
        ['insufficient_scope', `method.dil.${name}`],
      );
    }
    const { body } = await requestBy(trains, { gate_kl: 1000 });
    assert.match(
      body.error.message,
      /has the scope train, and method\.dil\.gate_kl 1000 in place of the server's 50 needs operate;/,
    );
    assert.equal((await requestBy(operates, loose)).status, 200);
  });

  test('a round names the raters and keys of the caller’s tenant, and to an administrator those of all', async () => {
    const { id }: Json = await client.post('/rounds', { body: {} });
    const counts = { pairs: 3, capped: 2 };
    const origins = {
      sources: { comparison: 6 },
      trust: { rated: 6 },
      rater_count: 2,
      raters: ['shop', 'default'].map((tenant) => ({ tenant, rater: `of ${tenant}`, ...counts, disagreement: null })),
      capped_keys: [{ tenant: 'shop', key: 'key_1', ...counts }],
    };
    await update(id, { origins, status: 'failed', stage: 'failed' });
    assert.deepEqual((await request(`/v1/rounds/${id}`)).body.origins, origins);
    const read = { name: 'reads', scopes: ['read'] };
    const { body } = await request('/v1/keys', { json: read });
    const headers = { authorization: `Bearer ${body.key}` };
    const own = { ...origins, raters: origins.raters.slice(1), capped_keys: [] };
    assert.deepEqual((await request(`/v1/rounds/${id}`, { headers })).body.origins, own);
    assert.deepEqual((await request('/v1/rounds?limit=1', { headers })).body.data[0].origins, own);
    const events = parseEvents((await request(`/v1/rounds/${id}/events`, { headers })).text);
    assert.deepEqual(JSON.parse(events.at(-1)!.data).origins, own);
  });

  test('metrics of a round are listed by step and split, with log-probabilities if stored', async () => {
    const { id }: Json = await client.post('/rounds', { body: {} });
    const logps = { chosen: [-1.5, -2], rejected: [-3, -0.25] };
    await db.insert(round_metrics).values([
      { round_id: id, step: 2, split: 'train', values: { loss: -0.5, 'rewards/margins': 0.125 } },
      { round_id: id, step: 1, split: 'held_out', values: { loss: 1e-7 }, logps },
      { round_id: id, step: 1, split: 'train', values: { loss: -0.25 } },
    ]);
    const { body } = await request(`/v1/rounds/${id}/metrics`);
    assert.deepEqual(body, {
      object: 'list',
      data: [
        { step_number: 1, split: 'held_out', metrics: { loss: 1e-7 }, logps },
        { step_number: 1, split: 'train', metrics: { loss: -0.25 }, logps: null },
        { step_number: 2, split: 'train', metrics: { loss: -0.5, 'rewards/margins': 0.125 }, logps: null },
      ],
    });
  });

  test('events of a round are streamed until it ends, and resume after Last-Event-ID', async () => {
    const { id }: Json = await client.post('/rounds', { body: {} });
    await addEvents(id, 'first', 'second');
    const response = await api.fetch(`/v1/rounds/${id}/events`);
    assert.equal(response.headers.get('content-type'), 'text/event-stream; charset=utf-8');
    const seen: ServerEvent[] = [];
    const messages = () => seen.map(({ data }) => JSON.parse(data).message);
    for await (const event of followEvents(response)) {
      seen.push(event);
      if (seen.length === 2) {
        await update(id, { status: 'running', stage: 'training', started_at: new Date() });
        await addEvents(id, 'third');
      }
      if (seen.length === 3) {
        await addEvents(id, 'last');
        const metrics = { 'rewards/accuracies': 0.75 };
        await update(id, {
          status: 'succeeded',
          stage: 'active',
          finished_at: new Date(),
          metrics,
          reason: 'the gate',
        });
      }
    }
    const done = seen.pop()!;
    assert.deepEqual(messages(), ['first', 'second', 'third', 'last']);
    assert.equal(done.event, 'done');
    assert.deepEqual(JSON.parse(done.data), (await request(`/v1/rounds/${id}`)).body);
    const ids = seen.map((event) => Number(event.id));
    assert.deepEqual(
      ids,
      ids.toSorted((a, b) => a - b),
    );

    const resume = async (last: string) => {
      const { text } = await request(`/v1/rounds/${id}/events`, { headers: { 'last-event-id': last } });
      return parseEvents(text).map(({ event, data }) => event ?? JSON.parse(data).message);
    };
    assert.deepEqual(await resume(String(ids[1])), ['third', 'last', 'done']);
    assert.deepEqual(await resume(String(ids[3])), ['done']);
    assert.deepEqual(await resume('no number'), ['first', 'second', 'third', 'last', 'done']);
  });

  test('a client can disconnect from the event stream', async () => {
    const { id }: Json = await client.post('/rounds', { body: {} });
    await addEvents(id, 'only');
    const abort = new AbortController();
    const response = await api.fetch(`/v1/rounds/${id}/events`, { signal: abort.signal });
    for await (const { data } of followEvents(response)) {
      assert.equal(JSON.parse(data).message, 'only');
      break;
    }
    abort.abort();
    await update(id, { status: 'cancelled', finished_at: new Date() });
    assert.equal((await request(`/v1/rounds/${id}`)).body.status, 'cancelled');
  });
}
