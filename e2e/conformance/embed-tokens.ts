// Embed tokens: what a page of a product may do with one, and that it may do nothing else.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Credentials } from '../../edge/credentials.ts';
import { createEmbedToken } from '../../edge/embed-token.ts';
import type { Json } from '../../testing/edge-server.ts';
import { waitUntil } from '../../testing/wait-until.ts';
import { type Api, KEYS } from './api.ts';
import { assertError } from './errors.ts';

const PAGE = 'https://shop.example';
const EVIL = 'https://evil.example';

export function testEmbedTokens(api: Api): void {
  const { request } = api;
  const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
  let key: Json;

  before(async () => {
    const json = { name: 'shop', scopes: ['generate', 'rate', 'feedback', 'read'], tenant: `shop.${api.runtime}` };
    key = (await request('/v1/keys', { json })).body;
  });

  const compare = async (fields: object = {}): Promise<Json> => {
    const json = { prompt: 'Once upon a time', max_tokens: 4, ...fields };
    const { status, body } = await request('/v1/comparisons', { json, headers: bearer(key.key) });
    assert.equal(status, 200, JSON.stringify(body));
    return body;
  };
  const make = async (fields: object, headers = bearer(key.key)): Promise<string> => {
    const { status, body } = await request('/v1/embed-tokens', { json: fields, headers });
    assert.equal(status, 200, JSON.stringify(body));
    assert.match(body.token, /^et_[\w.-]+$/);
    return body.token;
  };
  const see = (id: string, token: string, headers = {}) =>
    request(`/v1/comparisons/${id}`, { headers: { ...bearer(token), ...headers } });
  const vote = (comparison: string, token: string, fields: object = {}, headers = {}) => {
    const json = { comparison, choice: 'b', ...fields };
    return request('/v1/preferences', { json, headers: { ...bearer(token), ...headers } });
  };
  const assertRefused = async (id: string, token: string, message: RegExp) => {
    for (const response of [await see(id, token), await vote(id, token)]) {
      assertError(response, 401);
      assert.equal(response.body.error.code, 'invalid_embed_token');
      assert.match(response.body.error.message, message);
    }
  };

  test('the token of a comparison sees it, votes on it once as its user, changes the vote and retracts it', async () => {
    const { id, a, b } = await compare();
    const { body } = await request('/v1/embed-tokens', {
      json: { comparison: id, user: 'ann' },
      headers: bearer(key.key),
    });
    const { token, expires_at, ...rest } = body;
    assert.deepEqual(rest, { object: 'embed_token', comparison: id, user: 'ann', origin: null });
    assert.ok(Math.abs(expires_at - Date.now() / 1000 - 600) < 60);
    const shown = (await see(id, token)).body;
    assert.deepEqual([shown.a, shown.b, shown.voted], [a, b, false]);
    const given = await vote(id, token, { strength: 'much', tags: ['kind'], comment: 'Better.', seconds: 2 });
    assert.equal(given.status, 200, given.text);
    assert.deepEqual([given.body.rater, given.body.trust, given.body.choice], ['user:ann', 'feedback', 'b']);
    const again = await vote(id, token, { choice: 'a' });
    assertError(again, 409);
    assert.equal(again.body.error.code, 'already_voted');
    const after = (await see(id, token)).body;
    // Policies are shown to the backend only.
    assert.deepEqual([after.voted, after.a, after.b], [true, a, b]);
    const path = `/v1/preferences/${given.body.id}`;
    const changed = await request(path, { json: { choice: 'a', comment: null }, headers: bearer(token) });
    assert.deepEqual([changed.status, changed.body.choice, changed.body.comment], [200, 'a', null]);
    const stored = await request(path);
    assert.deepEqual([stored.body.rater, stored.body.choice], ['user:ann', 'a']);
    assert.equal((await request(path, { method: 'DELETE', headers: bearer(token) })).status, 200);
    assertError(await request(path), 404);
    assert.equal((await vote(id, token)).status, 200);
  });

  test('a page sees neither what a product tells its policy nor what its backend notes', async () => {
    const instructions = { role: 'system', content: 'Sell the expensive one.' };
    const question = { role: 'user', content: 'Which one?' };
    const messages = [instructions, question];
    const { id } = await compare({ prompt: undefined, messages, metadata: { margin: 'high' } });
    const token = await make({ comparison: id, user: 'ann' });
    const shown = await see(id, token);
    assert.deepEqual([shown.body.prompt, shown.body.metadata], [[question], null]);
    const given = await vote(id, token);
    assert.deepEqual(given.body.prompt, [question]);
    const path = `/v1/preferences/${given.body.id}`;
    const changed = await request(path, { json: { choice: 'a' }, headers: bearer(token) });
    assert.deepEqual(changed.body.prompt, [question]);
    assert.deepEqual((await request(path)).body.prompt, messages);
    assert.doesNotMatch(shown.text + given.text + changed.text, /expensive|margin/);
  });

  test('without a user the reader is anonymous, and has one vote', async () => {
    const { id } = await compare();
    assert.equal((await vote(id, await make({ comparison: id }))).body.rater, 'anonymous');
    assertError(await vote(id, await make({ comparison: id })), 409);
  });

  test('a token is for its comparison, its user and its tenant', async () => {
    const [own, other] = [await compare(), await compare()];
    const ann = await make({ comparison: own.id, user: 'ann' });
    const bob = await make({ comparison: own.id, user: 'bob' });
    assertError(await see(other.id, ann), 404);
    assertError(await vote(other.id, ann), 404);
    const given = (await vote(own.id, ann)).body;
    const path = `/v1/preferences/${given.id}`;
    assertError(await request(path, { json: { choice: 'a' }, headers: bearer(bob) }), 404);
    assertError(await request(path, { method: 'DELETE', headers: bearer(bob) }), 404);
    const sameUser = await make({ comparison: other.id, user: 'ann' });
    assertError(await request(path, { method: 'DELETE', headers: bearer(sameUser) }), 404);
    assertError(await vote(own.id, bob, { rater: 'ann' }), 403);
    // An administrator's token for it is one of its tenant.
    const admins = await make({ comparison: own.id, user: 'eve' }, { authorization: `Bearer ${KEYS[0]}` });
    const { body } = await vote(own.id, admins);
    const listed = (await request('/v1/preferences?limit=1', { headers: bearer(key.key) })).body;
    assert.deepEqual(listed.data[0].id, body.id);
    const elsewhere = await request('/v1/embed-tokens', {
      json: { comparison: own.id },
      headers: bearer(await stranger()),
    });
    assertError(elsewhere, 404);
  });

  const stranger = async (scopes = ['feedback']): Promise<string> =>
    (await request('/v1/keys', { json: { name: 'stranger', scopes, tenant: `elsewhere.${api.runtime}` } })).body.key;

  test('the token of a user is for the comparisons that were generated for that user', async () => {
    const token = await make({ user: 'carl' });
    const [own, other, chat] = [
      await compare({ user: 'carl' }),
      await compare({ user: 'dora' }),
      await request('/v1/chat/completions', {
        json: { messages: [{ role: 'user', content: 'Hi' }], max_tokens: 3, compare: true, user: 'carl' },
        headers: bearer(key.key),
      }),
    ];
    assert.equal((await see(own.id, token)).status, 200);
    assert.equal((await vote(own.id, token)).body.rater, 'user:carl');
    assert.equal((await vote(chat.body.comparison, token)).status, 200);
    assertError(await see(other.id, token), 404);
    assertError(await vote(other.id, token), 404);
    const foreign = await make({ user: 'carl' }, bearer(await stranger()));
    assertError(await see(own.id, foreign), 404);
  });

  test('an embed token may call nothing else', async () => {
    const { id } = await compare();
    const token = await make({ comparison: id, user: 'ann' });
    const { body } = await request('/openapi.json');
    const open = new Set([
      'GET /v1/comparisons/{id}',
      'POST /v1/preferences',
      'POST /v1/preferences/{id}',
      'DELETE /v1/preferences/{id}',
    ]);
    let tried = 0;
    for (const [path, methods] of Object.entries(body.paths as Record<string, Record<string, Json>>))
      for (const [name, operation] of Object.entries(methods)) {
        const method = name.toUpperCase();
        if (open.has(`${method} ${path}`) || operation.security?.length === 0) continue;
        const response = await request(path.replaceAll(/\{\w+\}/g, id), {
          method,
          headers: bearer(token),
          ...(method === 'POST' ? { body: '{}' } : {}),
        });
        assert.equal(response.status, 403, `${method} ${path}: ${response.text}`);
        tried++;
      }
    assert.ok(tried > 40);
    const chosen = await request('/v1/preferences', {
      json: { chosen: 'chatcmpl-1', rejected: 'chatcmpl-2' },
      headers: bearer(token),
    });
    assertError(chosen, 403);
    assertError(await vote(id, token, { edit: 'Mine.' }), 403);
    assertError(await request('/v1/session', { headers: { authorization: '' }, json: { key: token } }), 401);
  });

  test('a token that is expired, tampered with, or of a revoked key is refused', async () => {
    const { id } = await compare();
    const ports = { db: api.server.connection.db, credentials: new Credentials() } as Parameters<
      typeof createEmbedToken
    >[0];
    const embedding = { comparison: id, user: 'ann', origin: PAGE };
    const maker = { by: 'key_x', identity: undefined, tenant: key.tenant };
    const { token: old } = await createEmbedToken(ports, embedding, maker, -1);
    await assertRefused(id, old, /it expired at 20/);
    // Its page can read that.
    assert.equal((await see(id, old, { origin: PAGE })).headers.get('access-control-allow-origin'), PAGE);
    const { token: keyless } = await createEmbedToken(ports, embedding, maker, 60);
    await assertRefused(id, keyless, /was made without a key/);

    const token = await make({ comparison: id, user: 'ann' });
    const [header, payload, signature] = token.slice('et_'.length).split('.') as [string, string, string];
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString());
    const forge = (fields: object) => Buffer.from(JSON.stringify({ ...claims, ...fields })).toString('base64url');
    const unsigned = Buffer.from(JSON.stringify({ alg: 'none', typ: 'JWT' })).toString('base64url');
    for (const forged of [
      `et_${header}.${forge({ user: 'bob' })}.${signature}`,
      `et_${unsigned}.${payload}.`,
      `et_${header}.${payload}.${'A'.repeat(43)}`,
      `et_${header}.${payload}`,
      'et_',
    ])
      await assertRefused(id, forged, /its signature does not match/);

    const json = { name: 'short-lived', scopes: ['feedback'], tenant: key.tenant };
    const created = (await request('/v1/keys', { json })).body;
    const revoked = await make({ comparison: id, user: 'zoe' }, bearer(created.key));
    assert.equal((await see(id, revoked)).status, 200);
    await request(`/v1/keys/${created.id}`, { method: 'DELETE' });
    await waitUntil(async () => (await see(id, revoked)).status === 401);
    await assertRefused(id, revoked, /was revoked/);
  });

  test('what contradicts itself, or is of a queue, gets no token', async () => {
    const { id } = await compare();
    const cases: [object, string][] = [
      [{}, 'comparison'],
      [{ user: 'user:ann' }, 'user'],
      [{ comparison: id, expires_in_seconds: 59 }, 'expires_in_seconds'],
      [{ comparison: id, expires_in_seconds: 3601 }, 'expires_in_seconds'],
      [{ comparison: id, origin: 'shop.example' }, 'origin'],
      [{ comparison: id, origin: `${PAGE}/` }, 'origin'],
    ];
    for (const [json, param] of cases) {
      const response = await request('/v1/embed-tokens', { json, headers: bearer(key.key) });
      assertError(response, 400);
      assert.equal(response.body.error.param, param, JSON.stringify(json));
    }
    await api.server.connection.sql`update comparisons set queue_id = 'que_x' where id = ${id}`;
    assertError(await request('/v1/embed-tokens', { json: { comparison: id }, headers: bearer(key.key) }), 409);
  });

  test('a browser may ask for any page, and only the page that the token names is answered', async () => {
    const { id } = await compare();
    const ask = (path: string, headers: Record<string, string>) =>
      fetch(api.url + path, { method: 'OPTIONS', headers: { 'access-control-request-method': 'POST', ...headers } });
    const withToken = { 'access-control-request-headers': 'authorization, content-type' };
    for (const path of [`/v1/comparisons/${id}`, '/v1/preferences', '/v1/preferences/pref_1']) {
      const { status, headers } = await ask(path, { origin: EVIL, ...withToken });
      assert.deepEqual([status, headers.get('access-control-allow-origin')], [204, EVIL]);
      assert.match(headers.get('access-control-allow-headers')!, /authorization/);
      assert.equal(headers.get('access-control-allow-credentials'), null);
    }
    for (const [path, headers] of [
      ['/v1/preferences', { origin: EVIL, 'access-control-request-headers': 'content-type' }],
      ['/v1/comparisons', { origin: EVIL, ...withToken }],
      ['/v1/embed-tokens', { origin: PAGE, ...withToken }],
    ] as const) {
      const response = await ask(path, headers);
      assert.equal(response.headers.get('access-control-allow-origin'), null, path);
      await response.body?.cancel();
    }

    const token = await make({ comparison: id, user: 'ann', origin: PAGE });
    const shown = await see(id, token, { origin: PAGE });
    assert.deepEqual([shown.status, shown.headers.get('access-control-allow-origin')], [200, PAGE]);
    assert.match(shown.headers.get('vary') ?? '', /origin/i);
    const given = await vote(id, token, {}, { origin: PAGE });
    assert.deepEqual([given.status, given.headers.get('access-control-allow-origin')], [200, PAGE]);
    const twice = await vote(id, token, {}, { origin: PAGE });
    assert.deepEqual([twice.status, twice.headers.get('access-control-allow-origin')], [409, PAGE]);
    const stolen = await see(id, token, { origin: EVIL });
    assertError(stolen, 403);
    assert.deepEqual(
      [stolen.body.error.code, stolen.headers.get('access-control-allow-origin')],
      ['foreign_origin', null],
    );
    // Without a browser there is no origin, and without one in the token only those of CORS_ORIGINS read the response.
    assert.equal((await see(id, token)).status, 200);
    const open = await see(id, await make({ comparison: id }), { origin: EVIL });
    assert.deepEqual([open.status, open.headers.get('access-control-allow-origin')], [200, null]);
  });

  test('the readers of embedded comparisons have Idempotency-Keys of their own', async () => {
    const { id } = await compare();
    const [ann, bob] = [await make({ comparison: id, user: 'ann' }), await make({ comparison: id, user: 'bob' })];
    const once = { 'idempotency-key': `embedded, ${api.runtime}` };
    const first = await vote(id, ann, {}, once);
    const other = await vote(id, bob, {}, once);
    assert.deepEqual([first.body.rater, other.body.rater], ['user:ann', 'user:bob']);
    const again = await vote(id, await make({ comparison: id, user: 'ann' }), {}, once);
    assert.deepEqual([again.body, again.headers.get('idempotent-replayed')], [first.body, 'true']);
  });
}
