// Sessions of browsers: signed in with a key or an invitation, tampered with, and ended.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { Hono } from 'hono';
import { setSignedCookie } from 'hono/cookie';
import type { Json } from '../../testing/edge-server.ts';
import { type Api, KEYS } from './api.ts';
import { assertError } from './errors.ts';
import { openRaterSession, openSession } from './open-session.ts';

export function testSessions(api: Api): void {
  const { request } = api;
  const createKey = async (fields: Json = {}) =>
    (await request('/v1/keys', { json: { name: 'a key', scopes: ['read'], ...fields } })).body;
  const by = (cookie: string) => ({ authorization: '', cookie });
  const whoIs = (cookie: string) => request('/v1/session', { headers: by(cookie) });
  const refusals = async (cookie: string) => {
    const response = await whoIs(cookie);
    assertError(response, 401);
    assert.equal(response.body.error.code, 'invalid_session');
    assert.match(
      response.headers.get('set-cookie') ?? '',
      /^attune_session=; Max-Age=0; Path=\/; HttpOnly; SameSite=Strict$/,
    );
    return response.body.error.message as string;
  };

  test('a key signs a browser in, and the session may do what the key may', async () => {
    const created = await createKey({ name: 'console', tenant: 'shop' });
    const { cookie, response } = await openSession(api, { key: created.key });
    assert.equal(response.status, 200);
    assert.deepEqual(
      { ...response.body, expires_at: 0 },
      {
        object: 'session',
        rater: null,
        key: { id: created.id, name: 'console' },
        tenant: 'shop',
        scopes: ['read'],
        expires_at: 0,
      },
    );
    assert.ok(Math.abs(response.body.expires_at - Date.now() / 1000 - 12 * 3600) < 600);
    assert.match(
      response.headers.get('set-cookie') ?? '',
      /^attune_session=[^;]+; Max-Age=43200; Path=\/; HttpOnly; SameSite=Strict$/,
    );
    assert.equal(response.headers.get('cache-control'), 'no-store');
    assert.ok(!response.headers.get('set-cookie')!.includes(created.key.slice(-43)));
    assert.deepEqual((await whoIs(cookie)).body, response.body);
    assert.equal((await request('/v1/preferences', { headers: by(cookie) })).status, 200);
    assertError(await request('/v1/rounds', { json: {}, headers: by(cookie) }), 403);
  });

  test('a key of API_KEY signs in as an administrator', async () => {
    const { cookie, response } = await openSession(api, { key: KEYS[0] });
    assert.deepEqual([response.body.key.name, response.body.tenant], [null, 'default']);
    assert.ok(response.body.scopes.includes('admin'));
    assert.equal((await request('/v1/keys', { headers: by(cookie) })).status, 200);
  });

  test('GET /v1/session describes a key too', async () => {
    const { id, key } = await createKey();
    const { body } = await request('/v1/session', { headers: { authorization: `Bearer ${key}` } });
    assert.deepEqual([body.key, body.rater, body.expires_at], [{ id, name: 'a key' }, null, null]);
  });

  test('behind a proxy that ends TLS the cookie is for HTTPS only', async () => {
    const headers = { authorization: '', 'x-forwarded-proto': 'https' };
    const response = await request('/v1/session', { json: { key: KEYS[0] }, headers });
    assert.match(response.headers.get('set-cookie') ?? '', /; Secure(;|$)/);
  });

  test('what does not sign in is refused by name', async () => {
    const { key } = await createKey();
    const cases: [Json, number, string][] = [
      [{}, 400, 'invitation'],
      [{ key, invitation: 'inv-at-x' }, 400, 'invitation'],
      [{ key: 'wrong' }, 401, 'key'],
      [{ key: `${key.slice(0, -43)}${'A'.repeat(43)}` }, 401, 'key'],
      [{ key: '' }, 400, 'key'],
      [{ password: 'x' }, 400, 'password'],
    ];
    for (const [json, status, param] of cases) {
      const { response } = await openSession(api, json);
      assertError(response, status, JSON.stringify(json));
      assert.equal(response.body.error.param, param);
      assert.equal(response.headers.get('set-cookie'), null);
    }
    assert.match((await openSession(api, {})).response.body.error.message, /give either key or invitation/);
  });

  test('a cookie that was tampered with is refused and cleared, and does not keep one from signing in or out', async () => {
    const { cookie, rater } = await openRaterSession(api);
    const [, value] = decodeURIComponent(cookie).split('=') as [string, string];
    const [content, signature] = [value.slice(0, value.indexOf('.')), value.slice(value.indexOf('.'))];
    const claims = JSON.parse(Buffer.from(content, 'base64url').toString());
    assert.deepEqual(claims.slice(0, 2), ['rater', rater.id]);
    const forged = [claims[0], 'rater_other', ...claims.slice(2)];
    for (const wrong of [
      Buffer.from(JSON.stringify(forged)).toString('base64url') + signature,
      content,
      content + signature.replace(/\w/, (letter) => (letter === 'A' ? 'B' : 'A')),
      'nonsense',
      '',
    ]) {
      const message = await refusals(`attune_session=${encodeURIComponent(wrong)}`);
      assert.match(message, /its signature does not match; sign in again at \/sign-in or with POST \/v1\/session/);
    }
    const headers = by('attune_session=nonsense');
    assert.equal((await request('/v1/session', { json: { key: KEYS[0] }, headers })).status, 200);
    const ended = await request('/v1/session', { method: 'DELETE', headers });
    assert.deepEqual([ended.status, ended.body.deleted], [200, true]);
  });

  test('a session ends after its time by the clock of Postgres, whatever the cookie is', async () => {
    const { id, key } = await createKey();
    const { cookie } = await openSession(api, { key });
    const [, fingerprint] = /"([0-9a-f]{32})"/.exec(decodeCookie(cookie)) ?? [];
    const message = await refusals(await signCookie(api, ['key', id, fingerprint, Date.now() - 1000]));
    assert.match(message, /it expired at 20\d\d-.*Z; sign in again/);
    // The same signature with time left is accepted.
    assert.equal((await whoIs(await signCookie(api, ['key', id, fingerprint, Date.now() + 60_000]))).status, 200);
  });

  test('a key that is rotated, revoked or expired ends its sessions within a second', async () => {
    const { sql } = api.server.connection;
    for (const [end, message] of [
      [({ id }: Json) => request(`/v1/keys/${id}/rotate`, { method: 'POST' }), /has another secret now/],
      [({ id }: Json) => request(`/v1/keys/${id}`, { method: 'DELETE' }), /key_\w+ was revoked/],
      [({ id }: Json) => sql`update api_keys set expires_at = now() where id = ${id}`, /key_\w+ expired at/],
    ] as const) {
      const created = await createKey();
      const { cookie } = await openSession(api, { key: created.key });
      assert.equal((await whoIs(cookie)).status, 200);
      await end(created);
      await setTimeout(1100);
      assert.match(await refusals(cookie), message);
    }
  });

  test('two credentials of two callers are refused, and those of one are not', async () => {
    const { cookie } = await openRaterSession(api);
    const { key } = await createKey();
    const authorization = `Bearer ${key}`;
    const both = await request('/v1/models', { headers: { authorization, cookie } });
    assertError(both, 400);
    assert.equal(both.body.error.code, 'two_credentials');
    assert.match(both.body.error.message, /of key_\w+, and the session's cookie of rater_\w+; leave out the header/);
    const own = await openSession(api, { key });
    assert.equal((await request('/v1/models', { headers: { authorization, cookie: own.cookie } })).status, 200);
    // A wrong key is not made up for by a session.
    assertError(await request('/v1/models', { headers: { authorization: 'Bearer wrong-one', cookie } }), 401);
    const several = await request('/v1/models', { headers: { authorization: `Bearer ${key}, Bearer ${KEYS[0]}` } });
    assertError(several, 401);
    assert.match(several.body.error.message, /has several values, and takes one/);
    const other = await fetch(`${api.url}/v1/models`, { headers: { 'x-api-key': key } });
    assert.match(((await other.json()) as Json).error.message, /the header x-api-key is not read; send `authorization/);
  });

  test('signing out clears the cookie, and is in the audit log', async () => {
    const { id, key } = await createKey();
    const { cookie } = await openSession(api, { key });
    const ended = await request('/v1/session', { method: 'DELETE', headers: by(cookie) });
    assert.deepEqual(ended.body, { object: 'session', deleted: true });
    assert.match(ended.headers.get('set-cookie') ?? '', /^attune_session=; Max-Age=0/);
    const { body } = await request('/v1/audit?limit=100');
    const actions = (body.data as Json[]).filter(({ target }) => target === id).map(({ action }) => action);
    assert.deepEqual(actions, ['session.ended', 'session.created', 'key.created']);
    assert.equal((await request('/v1/session', { method: 'DELETE', headers: by('') })).status, 200);
  });
}

function decodeCookie(cookie: string): string {
  const value = decodeURIComponent(cookie).slice('attune_session='.length);
  return Buffer.from(value.split('.')[0]!, 'base64url').toString();
}

/** A cookie with these claims and a right signature. */
async function signCookie(api: Api, claims: Json): Promise<string> {
  const [row] = await api.server.connection.sql`select value from secrets where name = 'session'`;
  const app = new Hono().get('/', async (context) => {
    const content = Buffer.from(JSON.stringify(claims)).toString('base64url');
    await setSignedCookie(context, 'attune_session', content, row!.value);
    return context.text('');
  });
  return (await app.request('/')).headers.get('set-cookie')!.split(';')[0]!;
}
