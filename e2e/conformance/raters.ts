// Raters and their invitations: created, changed, invited, signed in once, and voting as themselves.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import type { Json } from '../../testing/edge-server.ts';
import type { Api } from './api.ts';
import { assertError } from './errors.ts';
import { openRaterSession, openSession } from './open-session.ts';

export function testRaters(api: Api): void {
  const { request } = api;
  const create = async (fields: Json = {}) => (await request('/v1/raters', { json: { name: 'Ann', ...fields } })).body;
  const change = (id: string, json: Json) => request(`/v1/raters/${id}`, { json });
  const invite = async (id: string, json: Json = {}) => (await request(`/v1/raters/${id}/invitations`, { json })).body;
  const by = (cookie: string) => ({ authorization: '', cookie });

  test('a rater is created, listed, read and changed', async () => {
    const rater = await create({ name: ' Ann Example ', skills: ['french', 'law', 'french'] });
    assert.match(rater.id, /^rater_[0-9a-f]{32}$/);
    assert.deepEqual([rater.name, rater.skills, rater.active], ['Ann Example', ['french', 'law'], true]);
    assert.deepEqual([rater.object, rater.tenant], ['rater', 'default']);
    assert.deepEqual((await request(`/v1/raters/${rater.id}`)).body, rater);
    const list = await request('/v1/raters?limit=100');
    assert.ok(list.body.data.some(({ id }: Json) => id === rater.id));
    const changed = await change(rater.id, { skills: ['law'], active: false });
    assert.deepEqual(changed.body, { ...rater, skills: ['law'], active: false });
    assert.deepEqual((await request(`/v1/raters/${rater.id}`)).body, changed.body);
  });

  test('raters are those of a tenant', async () => {
    const keys = await Promise.all(
      ['shop', 'bank'].map(async (tenant) => {
        const json = { name: tenant, tenant, scopes: ['operate'] };
        return { authorization: `Bearer ${(await request('/v1/keys', { json })).body.key}` };
      }),
    );
    const { body: rater } = await request('/v1/raters', { json: { name: 'Bea' }, headers: keys[0]! });
    assert.equal(rater.tenant, 'shop');
    for (const [path, json] of [
      [`/v1/raters/${rater.id}`, undefined],
      [`/v1/raters/${rater.id}`, { active: false }],
      [`/v1/raters/${rater.id}/invitations`, {}],
    ] as const) {
      const response = await request(path, { ...(json ? { json } : {}), headers: keys[1]! });
      assertError(response, 404);
    }
    const forOther = { json: { name: 'Eve', tenant: 'shop' }, headers: keys[1]! };
    assertError(await request('/v1/raters', forOther), 403);
    assert.equal((await create({ tenant: 'shop' })).tenant, 'shop');
    // A session has the tenant of its rater.
    const { response } = await openRaterSession(api, { tenant: 'shop' });
    assert.equal(response.body.tenant, 'shop');
  });

  test('an invitation signs in once, although many try at once', async () => {
    const rater = await create();
    const invitation = await invite(rater.id);
    assert.match(invitation.token, /^inv-at-[a-z0-9]{12}-[\w-]{43}$/);
    assert.equal(invitation.url, `${api.url}/sign-in?invitation=${invitation.token}`);
    assert.ok(Math.abs(invitation.expires_at - Date.now() / 1000 - 72 * 3600) < 600);
    const [row] = await api.server.connection.sql`select * from invitations where id = ${invitation.id}`;
    assert.ok(!JSON.stringify(row).includes(invitation.token.slice(-43)));

    const attempts = await Promise.all(
      Array.from({ length: 8 }, () => openSession(api, { invitation: invitation.token })),
    );
    const statuses = attempts.map(({ response }) => response.status);
    assert.deepEqual(statuses.toSorted(), [200, ...Array(7).fill(401)]);
    const { response } = attempts.find((attempt) => attempt.response.status === 401)!;
    assertError(response, 401);
    assert.deepEqual([response.body.error.param, response.body.error.code], ['invitation', 'invitation_used']);
    assert.match(response.body.error.message, /was used, and each signs in once; ask whoever sent it/);
    assert.equal(response.headers.get('set-cookie'), null);
  });

  test('an invitation that expired, was guessed, or is of a rater who left is refused', async () => {
    const { sql } = api.server.connection;
    const rater = await create();
    const invitation = await invite(rater.id, { expires_in_hours: 1 });
    const id = invitation.id;
    await sql`update invitations set expires_at = now() - interval '1 second' where id = ${id}`;
    const expired = await openSession(api, { invitation: invitation.token });
    assertError(expired.response, 401);
    assert.equal(expired.response.body.error.code, 'invitation_expired');
    assert.match(expired.response.body.error.message, /expired at 20\d\d-.*Z; ask whoever sent it/);

    const other = await invite(rater.id);
    const guessed = `${other.token.slice(0, -43)}${'A'.repeat(43)}`;
    for (const token of [guessed, 'inv-at-x', other.token.toUpperCase()]) {
      const { response } = await openSession(api, { invitation: token });
      assertError(response, 401);
      assert.equal(response.body.error.code, 'invalid_invitation');
    }

    await change(rater.id, { active: false });
    const inactive = await openSession(api, { invitation: other.token });
    assertError(inactive.response, 401);
    assert.equal(inactive.response.body.error.code, 'rater_inactive');
    assertError(await request(`/v1/raters/${rater.id}/invitations`, { json: {} }), 409);
    // It was not used up.
    await change(rater.id, { active: true });
    assert.equal((await openSession(api, { invitation: other.token })).response.status, 200);
  });

  test('a rater votes as themself, and may do no more than rate', async () => {
    const { cookie, rater } = await openRaterSession(api);
    const headers = by(cookie);
    const comparison = await request('/v1/comparisons', { json: { prompt: 'Once', max_tokens: 2 }, headers });
    assert.equal(comparison.status, 200);
    assert.equal((await request(`/v1/comparisons/${comparison.body.id}`, { headers })).status, 200);
    const vote = { comparison: comparison.body.id, choice: 'a' };
    const asOther = await request('/v1/preferences', { json: { ...vote, rater: 'bob' }, headers });
    assertError(asOther, 403);
    assert.equal(asOther.body.error.param, 'rater');
    const { status, body } = await request('/v1/preferences', { json: vote, headers });
    assert.deepEqual([status, body.rater], [200, rater.id]);
    const [row] = await api.server.connection
      .sql`select rater, created_by, tenant from preferences where id = ${body.id}`;
    assert.deepEqual({ ...row }, { rater: rater.id, created_by: rater.id, tenant: 'default' });
    assertError(await request('/v1/preferences', { json: vote, headers }), 409);
    assertError(await request('/v1/preferences', { headers }), 403);
    const pair = { prompt: 'Once', chosen: 'upon', rejected: 'more' };
    assertError(await request('/v1/preferences', { json: pair, headers }), 403);
  });

  test('a rater who is deactivated or erased is signed out within a second', async () => {
    const { sql } = api.server.connection;
    for (const leave of [
      ({ id }: Json) => change(id, { active: false }),
      ({ id }: Json) => sql`update raters set erased_at = now(), name = '' where id = ${id}`,
    ]) {
      const { cookie, rater } = await openRaterSession(api);
      assert.equal((await request('/v1/session', { headers: by(cookie) })).status, 200);
      await leave(rater);
      await setTimeout(1100);
      const refused = await request('/v1/session', { headers: by(cookie) });
      assertError(refused, 401);
      assert.equal(refused.body.error.code, 'invalid_session');
      assert.match(refused.body.error.message, /rater_\w+ is not active; sign in again/);
    }
  });

  test('a rater who is active again does not get old sessions back', async () => {
    const { cookie, rater } = await openRaterSession(api);
    await change(rater.id, { active: false });
    await change(rater.id, { active: true });
    await setTimeout(1100);
    const refused = await request('/v1/session', { headers: by(cookie) });
    assertError(refused, 401);
    assert.match(refused.body.error.message, /rater_\w+ was deactivated since; sign in again/);
    const { token } = await invite(rater.id);
    const again = await openSession(api, { invitation: token });
    await change(rater.id, { name: 'Ann Again' });
    await setTimeout(1100);
    assert.equal((await request('/v1/session', { headers: by(again.cookie) })).status, 200);
  });

  test('invalid fields and unknown ids are named', async () => {
    const { id } = await create();
    const cases: [string, Json, string | null, RegExp][] = [
      ['/v1/raters', { name: ' ' }, 'name', /name of a person/],
      ['/v1/raters', { name: 'Ann', skills: [''] }, 'skills.0', /is empty/],
      ['/v1/raters', { name: 'Ann', tenant: 'x'.repeat(5000) }, 'tenant', /1 to 64 letters/],
      ['/v1/raters', { name: 'Ann', tenant: 'a b' }, 'tenant', /1 to 64 letters/],
      ['/v1/raters', { name: 'Ann', scopes: ['admin'] }, 'scopes', /unknown field/],
      [`/v1/raters/${id}`, {}, null, /give name, skills or active/],
      [`/v1/raters/${id}`, { active: 'no' }, 'active', /boolean/],
      [`/v1/raters/${id}/invitations`, { expires_in_hours: 721 }, 'expires_in_hours', /720/],
      [`/v1/raters/${id}/invitations`, { expires_in_hours: 0 }, 'expires_in_hours', /give whole hours from 1 to 720/],
    ];
    for (const [path, json, param, message] of cases) {
      const response = await request(path, { json });
      assertError(response, 400, `${path} ${param}`);
      assert.equal(response.body.error.param, param);
      assert.match(response.body.error.message, message);
    }
    assertError(await request('/v1/raters/rater_none'), 404);
    assertError(await change('rater_none', { active: false }), 404);
    assertError(await request('/v1/raters/rater_none/invitations', { json: {} }), 404);
  });

  test('the audit log has who was invited by whom, and no names', async () => {
    const { rater } = await openRaterSession(api, { name: 'Canary Name' });
    await change(rater.id, { name: 'Another Canary' });
    const { text, body } = await request('/v1/audit?limit=100');
    const actions = (body.data as Json[])
      .filter(({ target, details }) => target === rater.id || details.rater === rater.id)
      .map(({ action, actor }) => [action, actor === rater.id]);
    assert.deepEqual(actions, [
      ['rater.updated', false],
      ['session.created', true],
      ['invitation.created', false],
      ['rater.created', false],
    ]);
    assert.doesNotMatch(text, /Canary/);
  });
}
