// API keys in Postgres: created, used, rotated, revoked and expired, with their lines in the audit log.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import type { Json } from '../../testing/edge-server.ts';
import { waitUntil } from '../../testing/wait-until.ts';
import type { Api } from './api.ts';
import { assertError } from './errors.ts';
import { openSession } from './open-session.ts';
import { parseEvents } from './server-sent-events.ts';

export function testKeys(api: Api): void {
  const { request } = api;
  const createKey = async (fields: Json) => (await request('/v1/keys', { json: { name: 'a key', ...fields } })).body;
  const list = (key: string) => request('/v1/models', { headers: { authorization: `Bearer ${key}` } });

  test('a key is shown once, works at once, and is listed without its secret', async () => {
    const created = await createKey({ name: 'chat backend', scopes: ['generate', 'read', 'read'], tenant: 'shop' });
    assert.match(created.key, /^sk-at-[a-z0-9]{12}-[\w-]{43}$/);
    assert.deepEqual([created.scopes, created.tenant, created.expires_at], [['generate', 'read'], 'shop', null]);
    assert.match(created.created_by, /^key_[0-9a-f]{12}$/);
    assert.equal((await list(created.key)).status, 200);
    const { body } = await request(`/v1/keys/${created.id}`);
    const { key: _, ...shown } = created;
    assert.deepEqual({ ...body, last_used_at: null }, shown);
    await waitUntil(async () => (await request(`/v1/keys/${created.id}`)).body.last_used_at !== null);
    const [row] = await api.server.connection.sql`select * from api_keys where id = ${created.id}`;
    assert.ok(!JSON.stringify(row).includes(created.key.slice(-43)));
  });

  test('a scope that is missing is named, with those that the key has', async () => {
    const { key } = await createKey({ scopes: ['rate'] });
    const response = await request('/v1/completions', {
      json: { prompt: 'Once' },
      headers: { authorization: `Bearer ${key}` },
    });
    assertError(response, 403);
    assert.match(
      response.body.error.message,
      /^key_\w+ has the scope rate, and POST \/v1\/completions needs generate; ask an admin/,
    );
  });

  test('a key that may rate votes, and may not give texts', async () => {
    const { id, key } = await createKey({ scopes: ['rate'] });
    const headers = { authorization: `Bearer ${key}` };
    const comparison = await request('/v1/comparisons', { json: { prompt: 'Once', max_tokens: 2 }, headers });
    assert.equal(comparison.status, 200);
    const vote = { comparison: comparison.body.id, choice: 'a' };
    const named = await request('/v1/preferences', { json: { ...vote, rater: 'ann' }, headers });
    assertError(named, 403);
    assert.match(named.body.error.message, /^rater: key_\w+ votes as itself; leave rater out/);
    const voted = await request('/v1/preferences', { json: vote, headers });
    assert.deepEqual([voted.status, voted.body.rater], [200, id]);
    const pair = { prompt: 'Once', chosen: 'upon', rejected: 'more' };
    const refused = await request('/v1/preferences', { json: pair, headers });
    assertError(refused, 403);
    assert.match(refused.body.error.message, /a preference between given texts needs feedback/);
  });

  test('a key that may rate votes on the policy’s own responses only', async () => {
    const { key: rating } = await createKey({ scopes: ['rate', 'read'] });
    const { key: generating } = await createKey({ scopes: ['generate', 'rate'] });
    const as = (key: string) => ({ authorization: `Bearer ${key}` });
    const format = (text: string) => ({
      response_format: { type: 'json_schema', json_schema: { name: 'one', schema: { const: text } } },
    });
    for (const steered of [format('buy this'), { logit_bias: { 5: 100 } }]) {
      const refused = await request('/v1/comparisons', { json: { prompt: 'Once', ...steered }, headers: as(rating) });
      assertError(refused, 403);
      assert.equal(refused.body.error.param, Object.keys(steered)[0]);
    }
    const ids = [];
    for (const text of ['buy this', 'buy that']) {
      const json = { prompt: `In ${api.runtime}`, max_tokens: 30, ...format(text) };
      const { status, body } = await request('/v1/completions', { json, headers: as(generating) });
      assert.equal(status, 200, JSON.stringify(body));
      ids.push(body.choices[0].generation_id);
    }
    const json = { chosen: ids[0], rejected: ids[1] };
    const refused = await request('/v1/preferences', { json, headers: as(generating) });
    assertError(refused, 403);
    assert.match(refused.body.error.message, /response_format or logit_bias needs feedback/);
    const { key } = await createKey({ scopes: ['feedback'] });
    assert.equal((await request('/v1/preferences', { json, headers: as(key) })).status, 200);
  });

  test('a rotated key has a new text, and a revoked one is refused within a second', async () => {
    const created = await createKey({ scopes: ['read'] });
    assert.equal((await list(created.key)).status, 200);
    const rotated = await request(`/v1/keys/${created.id}/rotate`, { method: 'POST' });
    assert.deepEqual([rotated.status, rotated.body.id], [200, created.id]);
    await setTimeout(1100);
    assert.deepEqual([(await list(created.key)).status, (await list(rotated.body.key)).status], [401, 200]);
    const revoked = await request(`/v1/keys/${created.id}`, { method: 'DELETE' });
    assert.equal(typeof revoked.body.revoked_at, 'number');
    await setTimeout(1100);
    const refused = await list(rotated.body.key);
    assertError(refused, 401);
    assert.match(refused.body.error.message, /^key_\w+ was revoked;/);
    // Again, it changes nothing; and it stays revoked.
    const again = await request(`/v1/keys/${created.id}`, { method: 'DELETE' });
    assert.equal(again.body.revoked_at, revoked.body.revoked_at);
    assertError(await request(`/v1/keys/${created.id}/rotate`, { method: 'POST' }), 409);
  });

  test('a stream ends with the key that reads it, and with the session of that key', { timeout: 60_000 }, async () => {
    const { id: round } = (await request('/v1/rounds', { json: {} })).body;
    for (const [path, end, problem] of [
      ['/v1/loop/events', (id: string) => request(`/v1/keys/${id}`, { method: 'DELETE' }), /key_\w+ was revoked/],
      [
        `/v1/rounds/${round}/events`,
        (id: string) => request(`/v1/keys/${id}/rotate`, { method: 'POST' }),
        /key_\w+ has another secret now/,
      ],
    ] as const) {
      const { id, key } = await createKey({ scopes: ['read'] });
      const { cookie } = await openSession(api, { key });
      const callers: Record<string, string>[] = [{ authorization: `Bearer ${key}` }, { authorization: '', cookie }];
      const streams = await Promise.all(callers.map((headers) => api.fetch(path, { headers })));
      assert.deepEqual(
        streams.map(({ status }) => status),
        [200, 200],
      );
      assert.equal((await end(id)).status, 200);
      const errors = await Promise.all(
        streams.map(async (stream): Promise<Json> => JSON.parse(parseEvents(await stream.text()).at(-1)!.data).error),
      );
      assert.deepEqual(
        errors.map(({ code }) => code),
        ['invalid_api_key', 'invalid_session'],
      );
      for (const { message } of errors) assert.match(message, problem);
    }
    await request(`/v1/rounds/${round}/cancel`, { json: {} });
  });

  test('an expired key is refused with the time', async () => {
    const { id, key } = await createKey({ scopes: ['read'], expires_at: Math.floor(Date.now() / 1000) + 3600 });
    assert.equal((await list(key)).status, 200);
    await api.server.connection.sql`update api_keys set expires_at = now() - interval '1 second' where id = ${id}`;
    await setTimeout(1100);
    const refused = await list(key);
    assertError(refused, 401);
    assert.match(refused.body.error.message, /^key_\w+ expired at 20\d\d-.*Z;/);
  });

  test('a key stores as many rows in a day as it may, of every kind, and nothing over that', async () => {
    const { key, id, rows_per_day } = await createKey({ scopes: ['generate', 'feedback'], rows_per_day: 4 });
    assert.equal(rows_per_day, 4);
    const headers = { authorization: `Bearer ${key}` };
    const send = (path: string, json: Json) => request(path, { json, headers });
    const text = { prompt: 'Once', max_tokens: 2 };
    const pair = { prompt: `A day of ${api.runtime}`, chosen: 'a', rejected: 'b' };
    const importing = (prompt: string) =>
      request('/v1/preferences/import', { method: 'POST', body: JSON.stringify({ ...pair, prompt }), headers });
    assert.equal((await send('/v1/completions', text)).status, 200);
    assert.equal((await send('/v1/completions', { ...text, store: false })).status, 200);
    assert.equal((await send('/v1/comparisons', text)).status, 200);
    assert.equal((await send('/v1/preferences', pair)).status, 200);
    assert.equal((await importing(`${pair.prompt}, imported`)).body.imported, 1);
    const { sql } = api.server.connection;
    const countRows = async () => {
      const [counts] = await sql`select (select count(*) from completions where created_by = ${id})::int completions,
        (select count(*) from comparisons where created_by = ${id})::int comparisons,
        (select count(*) from preferences where created_by = ${id})::int preferences`;
      return Object.values(counts!);
    };
    assert.deepEqual(await countRows(), [2, 1, 2]);
    for (const refused of [
      await send('/v1/completions', text),
      await send('/v1/chat/completions', { messages: [{ role: 'user', content: 'Once' }], stream: true }),
      await send('/v1/comparisons', text),
      await send('/v1/preferences', { ...pair, chosen: 'c' }),
      await importing(`${pair.prompt}, imported too`),
    ]) {
      assertError(refused, 429);
      const { code, message } = refused.body.error;
      assert.equal(code, 'daily_rows_exceeded');
      assert.match(message, /may store 4 rows a day; the day ends at 20\S+T00:00:00\.000Z/);
      assert.equal(refused.headers.get('x-should-retry'), 'false');
      const seconds = Number(refused.headers.get('retry-after'));
      assert.ok(seconds > 0 && seconds <= 86_400);
    }
    assert.equal((await send('/v1/completions', { ...text, store: false })).status, 200);
    assert.deepEqual(await countRows(), [2, 1, 2]);
  });

  test('invalid fields and unknown ids are named', async () => {
    const cases: [Json, string, RegExp][] = [
      [{ scopes: ['root'] }, 'scopes.0', /generate/],
      [{ scopes: [] }, 'scopes', /at least one/],
      [{ scopes: ['read'], expires_at: 1 }, 'expires_at', /in the past/],
      [{ scopes: ['read'], expires_at: 1e14 }, 'expires_at', /Unix time in seconds/],
      [{ scopes: ['read'], expires_at: '2030-01-01' }, 'expires_at', /Unix time in seconds/],
      [{ scopes: ['read'], expires_at: 8e12 }, 'expires_at', /Unix time in seconds, before the year 10000/],
      [{ scopes: ['read'], expires_at: -1e14 }, 'expires_at', /Unix time in seconds/],
      [{ scopes: ['read'], tenant: 'a b' }, 'tenant', /letters, digits/],
      [{ scopes: ['read'], name: '' }, 'name', /what the key is for/],
      [{ scopes: ['read'], requests_per_minute: 0 }, 'requests_per_minute', /a whole number of 1 or more/],
      [{ scopes: ['read'], concurrent_generations: 1.5 }, 'concurrent_generations', /a whole number of 1/],
      [{ scopes: ['read'], rows_per_day: 1.5 }, 'rows_per_day', /a whole number/],
      [{ scopes: ['read'], secret: 'mine' }, 'secret', /unknown|unrecognized/i],
    ];
    for (const [json, param, message] of cases) {
      const response = await request('/v1/keys', { json: { name: 'a key', ...json } });
      assertError(response, 400, param);
      assert.equal(response.body.error.param, param);
      assert.match(response.body.error.message, message);
    }
    for (const [method, path] of [
      ['GET', '/v1/keys/key_none'],
      ['DELETE', '/v1/keys/key_none'],
      ['POST', '/v1/keys/key_none/rotate'],
    ] as const)
      assertError(await request(path, { method }), 404, path);
  });

  test('the list has every key and no secret', async () => {
    const created = await createKey({ scopes: ['read'] });
    const { text } = await request('/v1/keys?limit=100');
    assert.ok(text.includes(created.id) && !text.includes(created.key.slice(-43)));
  });

  test('what administrators do is in the audit log, which nobody can change', async () => {
    const created = await createKey({ scopes: ['read'], name: 'audited' });
    await request(`/v1/keys/${created.id}`, { method: 'DELETE' });
    const { body } = await request('/v1/audit?limit=100');
    const actions = (body.data as Json[]).filter(({ target }) => target === created.id).map(({ action }) => action);
    assert.deepEqual(actions, ['key.revoked', 'key.created']);
    const lines = (await request('/v1/audit/export')).text.trimEnd().split('\n');
    const exported = lines.map((line): Json => JSON.parse(line));
    assert.deepEqual(
      exported.toSorted((one, other) => (one.id < other.id ? -1 : 1)),
      exported,
    );
    const [latest] = body.data as Json[];
    assert.deepEqual(
      exported.find(({ id }) => id === latest.id),
      latest,
    );
    const { sql } = api.server.connection;
    await assert.rejects(sql`update audit_events set actor = 'nobody'`, /append-only/);
    await assert.rejects(sql`delete from audit_events`, /append-only/);
  });

  test('the audit log is filtered by what was done, to what, by whom and when, and so is its export', async () => {
    const before = (await createKey({ scopes: ['read'] })).id;
    const { id, key } = await createKey({ scopes: ['admin'], name: 'auditor' });
    const own = await request('/v1/keys', {
      json: { name: 'made by the auditor', scopes: ['read'] },
      headers: { authorization: `Bearer ${key}` },
    });
    await request(`/v1/keys/${own.body.id}`, { method: 'DELETE' });
    const list = async (query: string): Promise<string[]> => {
      const { status, body, text } = await request(`/v1/audit?${query}`);
      assert.equal(status, 200, text);
      const exported = await request(`/v1/audit/export?${query.replace(/&?(limit|order)=\w+/g, '')}`);
      const lines: Json[] = exported.text
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line));
      for (const event of body.data)
        assert.ok(
          lines.some((line) => line.id === event.id),
          query,
        );
      return body.data.map(({ action, target }: Json) => `${action} ${target}`);
    };
    assert.deepEqual(await list(`target=${own.body.id}`), [`key.revoked ${own.body.id}`, `key.created ${own.body.id}`]);
    assert.deepEqual(await list(`actor=${id}`), [`key.created ${own.body.id}`]);
    assert.deepEqual(await list(`target=${own.body.id}&action=key.revoked`), [`key.revoked ${own.body.id}`]);
    assert.deepEqual(await list(`target=${own.body.id}&action=canary.`), []);
    assert.deepEqual((await list('action=key.&limit=2')).length, 2);
    for (const text of await list('action=key.created&limit=100')) assert.match(text, /^key\.created /);
    await waitUntil(async () => (await list(`actor=${id}&order=asc`)).length === 1);

    const { data } = (await request(`/v1/audit?target=${before}`)).body;
    const at = new Date(1000 * data[0].created).toISOString();
    const later = new Date(1000 * (data[0].created + 1)).toISOString();
    assert.deepEqual(await list(`target=${before}&since=${at}&until=${later}`), [`key.created ${before}`]);
    assert.deepEqual(await list(`target=${before}&until=${at}`), []);
    assert.deepEqual(await list(`target=${before}&since=2999-01-01`), []);
    for (const [query, param] of [
      ['action=key', 'action'],
      ['action=key.painted', 'action'],
      ['actor=', 'actor'],
      ['target=%00', 'target'],
      ['since=yesterday', 'since'],
      ['until=1767225600', 'until'],
      ['color=red', 'color'],
    ] as const)
      for (const path of ['/v1/audit', '/v1/audit/export']) {
        const refused = await request(`${path}?${query}`);
        assertError(refused, 400);
        assert.equal(refused.body.error.param, param, query);
      }
  });
}
