// What the loop is doing: once, as a stream, and by minute; and the settings in force.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eq, sql } from 'drizzle-orm';
import { addPolicyMinutes } from '../../shared/canary/policy-minutes.ts';
import { heartbeats, policy_minutes, rounds } from '../../shared/database/schema.ts';
import type { Json } from '../../testing/edge-server.ts';
import { waitUntil } from '../../testing/wait-until.ts';
import { type Api, KEYS } from './api.ts';
import { assertError } from './errors.ts';
import { followEvents } from './server-sent-events.ts';

const MINUTE_MS = 60_000;

export function testLoop(api: Api): void {
  const { request, server } = api;
  const { db } = server.connection;
  const policy = `pol_traffic_${api.runtime}`;
  const get = async (init = {}): Promise<Json> => {
    const { status, body, text } = await request('/v1/loop', init);
    assert.equal(status, 200, text);
    return body;
  };
  const waitFor = (isSo: (state: Json) => boolean) => waitUntil(async () => isSo(await get()));

  test('the loop says which policy is active, what is served, voted on and trained, and when a trainer was seen', async () => {
    const state = await get();
    assert.equal(state.object, 'loop');
    assert.ok(Math.abs(state.at - Date.now() / 1000) < 60);
    const { body: active } = await request(`/v1/policies/${state.active.policy}`);
    assert.deepEqual([active.active, active.state, active.name], [true, 'active', state.active.name]);
    assert.ok(state.active.since <= state.at);
    // A Worker's isolates do not know each other's.
    assert.equal(state.queue === null, api.runtime === 'worker');
    if (state.queue) assert.ok(state.queue.limit > 0 && state.queue.running >= 0 && state.queue.waiting >= 0);
    assert.ok(state.schedule.min_pairs > 0);
    assert.ok(state.completions > 0);

    const { votes } = state;
    assert.ok(votes.last_hour <= votes.last_day && votes.last_day <= votes.total);
    const messages = [{ role: 'user', content: 'Once' }];
    const comparison = (await request('/v1/comparisons', { json: { messages, max_tokens: 2 } })).body.id;
    await request('/v1/preferences', { json: { comparison, choice: 'a' } });
    await waitFor((now) => now.votes.total === votes.total + 1 && now.votes.last_hour === votes.last_hour + 1);

    const seen = new Date(Math.floor(Date.now() / 1000) * 1000);
    const values = { name: 'trainer' as const, seen_at: seen };
    await db.insert(heartbeats).values(values).onConflictDoUpdate({ target: heartbeats.name, set: values });
    assert.equal((await get()).trainer_seen_at, seen.getTime() / 1000);
  });

  test('the round of the loop is the one that runs, or else the next one; and the schedule waits for it', async () => {
    await db.update(rounds).set({ status: 'cancelled' }).where(sql`status in ('queued', 'running')`);
    assert.equal((await get()).round, null);
    const first = (await request('/v1/rounds', { json: {} })).body;
    const second = (await request('/v1/rounds', { json: {} })).body;
    assert.deepEqual((await get()).round, first);
    await waitFor(({ schedule }) => schedule.waits_for === `${first.id} is queued`);
    await db.update(rounds).set({ status: 'running', stage: 'training' }).where(eq(rounds.id, second.id));
    const { round } = await get();
    assert.deepEqual([round.id, round.stage], [second.id, 'training']);
    for (const { id } of [first, second])
      assert.equal((await request(`/v1/rounds/${id}/cancel`, { json: {} })).status, 200);
  });

  test('the stream tells the state at once, and again when it has changed', { timeout: 60_000 }, async () => {
    await db.update(rounds).set({ status: 'cancelled' }).where(sql`status in ('queued', 'running')`);
    const abort = new AbortController();
    const response = await api.fetch('/v1/loop/events', { signal: abort.signal });
    assert.equal(response.headers.get('content-type'), 'text/event-stream; charset=utf-8');
    const told: Json[] = [];
    let requested: Json = null;
    for await (const { data } of followEvents(response)) {
      const state = JSON.parse(data);
      told.push(state);
      if (told.length === 1) requested = (await request('/v1/rounds', { json: {} })).body;
      // Rates change by themselves while traffic of the last minute grows old.
      if (state.round?.id === requested.id) break;
    }
    abort.abort();
    assert.equal(told[0].round, null);
    assert.deepEqual(told.at(-1).round, requested);
    assert.deepEqual(Object.keys(told[0]).toSorted(), Object.keys(await get()).toSorted());
    const bodies = told.map(({ at, ...state }) => JSON.stringify(state));
    assert.equal(new Set(bodies).size, bodies.length, 'nothing is told twice');
    for (const [at, state] of told.slice(1).entries()) assert.ok(state.at - told[at].at > 0.9, 'once a second');
    await request(`/v1/rounds/${requested.id}/cancel`, { json: {} });
  });

  test('traffic is told by policy and minute, and in longer steps over a longer time', async () => {
    const minute = new Date(Math.floor(Date.now() / MINUTE_MS) * MINUTE_MS);
    const before = new Date(minute.getTime() - 3 * MINUTE_MS);
    await db.delete(policy_minutes).where(eq(policy_minutes.policy_id, policy));
    const served = { requests: 4, errors: 1, prompt_tokens: 40, completion_tokens: 12, seconds: 6 };
    const firsts = { first_tokens: 2, first_token_log: 2 * Math.log(0.25), first_token_log_squares: 8 };
    await addPolicyMinutes(db, [
      { policy_id: policy, minute, ...served, ...firsts },
      { policy_id: policy, minute: before, requests: 1, errors: 1 },
    ]);
    const own = async (query: string): Promise<Json> => {
      const { status, body, text } = await request(`/v1/traffic${query}`);
      assert.equal(status, 200, text);
      assert.equal(body.object, 'traffic');
      return { ...body, data: body.data.filter((row: Json) => row.policy === policy) };
    };
    const { step_seconds, data } = await own('');
    assert.equal(step_seconds, 60);
    assert.deepEqual(
      data.map(({ at, ...row }: Json) => [at, row]),
      [
        [
          before.getTime() / 1000,
          {
            policy,
            requests: 1,
            errors: 1,
            prompt_tokens: 0,
            completion_tokens: 0,
            first_token_seconds: null,
            seconds: null,
          },
        ],
        [
          minute.getTime() / 1000,
          {
            policy,
            requests: 4,
            errors: 1,
            prompt_tokens: 40,
            completion_tokens: 12,
            first_token_seconds: 0.25,
            seconds: 2,
          },
        ],
      ],
    );
    assert.deepEqual((await own('?minutes=1')).data.length <= 1, true);
    const month = await own('?minutes=43200');
    assert.equal(month.step_seconds, 3600);
    assert.equal(
      month.data.reduce((sum: number, row: Json) => sum + row.requests, 0),
      5,
    );
    for (const row of month.data) assert.equal(row.at % 3600, 0);

    const { traffic } = await get();
    assert.ok(traffic.requests_per_minute > 0 && traffic.tokens_per_second > 0 && traffic.errors_per_minute > 0);
    assert.ok(traffic.first_token_seconds > 0);
    for (const minutes of ['0', '43201', 'many']) {
      const refused = await request(`/v1/traffic?minutes=${minutes}`);
      assertError(refused, 400);
      assert.equal(refused.body.error.param, 'minutes');
    }
    await db.delete(policy_minutes).where(eq(policy_minutes.policy_id, policy));
  });

  test('settings in force are told with their source, and no secret is among them', async () => {
    const { status, body, text } = await request('/v1/settings');
    assert.equal(status, 200, text);
    const of = (name: string) => body.data.find((setting: Json) => setting.name === name);
    const { value, source, default: fallback } = of('MAX_ROWS');
    assert.deepEqual([value, source], ['16', 'environment']);
    assert.ok(fallback);
    assert.equal(of('TRAIN_MIN_PAIRS').source, 'default');
    assert.deepEqual([of('API_KEY').value, of('API_KEY').secret, of('API_KEY').source], [null, true, 'environment']);
    for (const key of KEYS) assert.ok(!text.includes(key));
    assert.ok(!text.includes('postgres://'));
  });
}
