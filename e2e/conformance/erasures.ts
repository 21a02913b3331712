// Erasures and retracted votes: what is gone, for whom, and what stays.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import type { Json } from '../../testing/edge-server.ts';
import { listTablesWith } from '../../testing/stored-rows.ts';
import { type Api, KEYS } from './api.ts';
import { assertError } from './errors.ts';

export function testErasures(api: Api): void {
  const { request } = api;
  const { db } = api.server.connection;
  const canary = (name: string) => `canary ${name} ${api.runtime}`;
  const remove = (path: string, headers: Record<string, string> = {}) => request(path, { method: 'DELETE', headers });
  const compare = (json: Json = {}, headers = {}) =>
    request('/v1/comparisons', { json: { prompt: 'Once', max_tokens: 2, ...json }, headers });
  const once = (key: string) => ({ 'idempotency-key': key, authorization: `Bearer ${KEYS[0]}` });
  const isGone = async (text: string) => assert.deepEqual(await listTablesWith(db, text), []);
  const keys: Record<'rate' | 'feedback' | 'other', Record<string, string>> = { rate: {}, feedback: {}, other: {} };

  before(async () => {
    for (const [name, scopes] of Object.entries({
      rate: ['rate'],
      feedback: ['feedback', 'generate'],
      other: ['rate'],
    })) {
      const { body } = await request('/v1/keys', { json: { name, scopes } });
      keys[name as keyof typeof keys] = { authorization: `Bearer ${body.key}` };
    }
  });

  test("a chat completion is deleted as with OpenAI's client, with its stored response", async () => {
    const text = canary('chat');
    const json = { messages: [{ role: 'user', content: text }], max_tokens: 2, n: 2, metadata: { text } };
    const { body } = await request('/v1/chat/completions', { json, headers: once(text) });
    const [, second] = body.choices;
    const vote = await request('/v1/preferences', { json: { chosen: body.id, rejected: second.generation_id } });
    assert.equal(vote.status, 200);
    const deleted = await api.client.chat.completions.delete(body.id);
    assert.deepEqual([deleted.id, deleted.object, deleted.deleted], [body.id, 'chat.completion.deleted', true]);
    const { erasure: id } = deleted as unknown as { erasure: string };
    const erasure = (await request(`/v1/erasures/${id}`)).body;
    assert.deepEqual(
      [erasure.subject, erasure.erased],
      ['completion', { completions: 1, comparisons: 0, preferences: 1, feedback: 0 }],
    );
    assert.deepEqual([erasure.policies, erasure.active_policy_learned, erasure.advice], [[], false, null]);
    assertError(await request(`/v1/chat/completions/${body.id}`), 404);
    assertError(await remove(`/v1/chat/completions/${body.id}`), 404);
    await isGone(text);
    // As the same request for the first time: nothing of the first is left to repeat.
    const again = await request('/v1/chat/completions', { json, headers: once(text) });
    assert.notEqual(again.body.id, body.id);
    await remove(`/v1/chat/completions/${again.body.id}`);
  });

  test('a comparison is deleted with its sides and the votes on it', async () => {
    const text = canary('comparison');
    const { body } = await compare({ prompt: text });
    const vote = { comparison: body.id, choice: 'tie', rater: text, metadata: { text } };
    const { id } = (await request('/v1/preferences', { json: vote })).body;
    const deleted = await remove(`/v1/comparisons/${body.id}`);
    assert.deepEqual([deleted.status, deleted.body.object], [200, 'comparison.deleted']);
    const { erased } = (await request(`/v1/erasures/${deleted.body.erasure}`)).body;
    assert.deepEqual(erased, { completions: 1, comparisons: 1, preferences: 1, feedback: 0 });
    for (const path of [`/v1/comparisons/${body.id}`, `/v1/preferences/${id}`]) assertError(await request(path), 404);
    assertError(await request('/v1/preferences', { json: vote }), 404);
    await isGone(text);
  });

  test('an administrator erases a preference; the totals follow', async () => {
    const text = canary('preference');
    const count = async () => (await request('/v1/preferences/stats')).body;
    const before = await count();
    const json = { prompt: text, chosen: `${text} a`, rejected: `${text} b`, rater: text };
    const { id } = (await request('/v1/preferences', { json, headers: once(text) })).body;
    const { body } = await remove(`/v1/preferences/${id}`);
    assert.deepEqual([body.id, body.object, body.deleted], [id, 'preference.deleted', true]);
    assert.match(body.erasure, /^ersr_/);
    assert.deepEqual(await count(), before);
    assertError(await remove(`/v1/preferences/${id}`), 404);
    await isGone(text);
  });

  test('all of an end user is erased, once for each Idempotency-Key', async () => {
    const user = canary('user');
    const message = { role: 'user', content: `${user} says` };
    await request('/v1/chat/completions', { json: { messages: [message], max_tokens: 2, user } });
    await compare({ prompt: `${user} asks`, user });
    const texts = { prompt: `${user} thinks`, chosen: 'a', rejected: 'b' };
    await request('/v1/preferences', { json: { ...texts, rater: user } });
    const init = { json: { user }, headers: once(canary('key')) };
    const { status, body } = await request('/v1/erasures', init);
    assert.equal(status, 200, JSON.stringify(body));
    assert.deepEqual(body.erased, { completions: 2, comparisons: 1, preferences: 1, feedback: 0 });
    assert.deepEqual([body.object, body.subject, body.tenant], ['erasure', 'user', 'default']);
    await isGone(user);
    const again = await request('/v1/erasures', init);
    assert.deepEqual([again.headers.get('idempotent-replayed'), again.body], ['true', body]);
    const nothing = await request('/v1/erasures', { json: { user } });
    assertError(nothing, 404);
    assert.equal(nothing.body.error.code, 'nothing_to_erase');
    const { data } = (await request('/v1/erasures')).body;
    assert.deepEqual(data[0], body);
    const { data: events } = (await request('/v1/audit?limit=1')).body;
    assert.deepEqual([events[0].action, events[0].target], ['erasure.created', body.id]);
  });

  test('a user, a key and a generation are erased', async () => {
    const text = canary('subject');
    const created = (await request('/v1/keys', { json: { name: 'to erase', scopes: ['feedback'], tenant: 'shop' } }))
      .body;
    const headers = { authorization: `Bearer ${created.key}` };
    const give = (rater: string) =>
      request('/v1/preferences', { json: { prompt: text, chosen: 'a', rejected: 'b', rater }, headers });
    for (const rater of [`ann ${text}`, `bob ${text}`]) assert.equal((await give(rater)).status, 200);
    assertError(await request('/v1/erasures', { json: { user: `ann ${text}` } }), 404);
    const ofUser = await request('/v1/erasures', { json: { user: `ann ${text}`, tenant: 'shop' } });
    assert.equal(ofUser.body.erased.preferences, 1);
    const ofKey = await request('/v1/erasures', { json: { key: created.id } });
    assert.deepEqual([ofKey.body.tenant, ofKey.body.erased.preferences], ['shop', 1]);
    const completion = await request('/v1/completions', { json: { prompt: text, max_tokens: 2 } });
    const generation = completion.body.choices[0].generation_id;
    assert.equal((await request('/v1/erasures', { json: { generation } })).body.erased.completions, 1);
    await isGone(text);
  });

  test('an erasure of no subject, of two, or with a tenant that it cannot have is refused with the field', async () => {
    const bodies: [Json, string][] = [
      [{}, 'user'],
      [{ user: 'a', rater: 'b' }, 'rater'],
      [{ rater: 'user:ann' }, 'rater'],
      [{ user: '' }, 'user'],
      [{ key: 'anonymous' }, 'key'],
      [{ generation: 'chatcmpl-1', tenant: 'shop' }, 'tenant'],
      [{ user: 'a', tenant: 'no spaces' }, 'tenant'],
    ];
    for (const [json, param] of bodies) {
      const response = await request('/v1/erasures', { json });
      assertError(response, 400);
      assert.equal(response.body.error.param, param, JSON.stringify(json));
    }
    for (const json of [{ rater: 'nobody' }, { key: 'key_nothing' }, { generation: 'chatcmpl-none' }]) {
      const response = await request('/v1/erasures', { json });
      assertError(response, 404);
      assert.equal(response.body.error.param, Object.keys(json)[0]);
    }
    assertError(await request('/v1/erasures/ersr_none'), 404);
  });

  test('whoever voted changes the vote, retracts it, and votes again; nobody else does', async () => {
    const { body } = await compare({}, keys.rate);
    const json = { comparison: body.id, choice: 'a' };
    const given = await request('/v1/preferences', { json, headers: keys.rate });
    const path = `/v1/preferences/${given.body.id}`;
    const change = (choice: string, headers: Record<string, string>) => request(path, { json: { choice }, headers });
    for (const headers of [keys.other, keys.feedback, {}]) assertError(await change('b', headers), 404);
    assertError(await remove(path, keys.other), 404);
    const changed = await change('b', keys.rate);
    assert.deepEqual([changed.status, changed.body.choice, changed.body.id], [200, 'b', given.body.id]);
    assert.deepEqual([changed.body.chosen, changed.body.rejected], [given.body.rejected, given.body.chosen]);
    assert.deepEqual((await request(path)).body, changed.body);
    const tied = await change('tie', keys.rate);
    assert.deepEqual([tied.body.choice, tied.body.chosen], ['tie', given.body.chosen]);
    assertError(await change('best', keys.rate), 400);
    const retracted = await remove(path, keys.rate);
    assert.deepEqual(retracted.body, { id: given.body.id, object: 'preference.deleted', deleted: true, erasure: null });
    assertError(await remove(path, keys.rate), 404);
    assert.equal((await request('/v1/preferences', { json, headers: keys.rate })).status, 200);
  });

  test('a given pair is retracted and not changed, and one that a round has used is neither', async () => {
    const pair = { prompt: canary('pair'), chosen: 'a', rejected: 'b', rater: 'ann' };
    const { id } = (await request('/v1/preferences', { json: pair, headers: keys.feedback })).body;
    const change = await request(`/v1/preferences/${id}`, { json: { choice: 'b' }, headers: keys.feedback });
    assertError(change, 400);
    assert.equal(change.body.error.code, 'not_a_comparison');
    const round = (await request('/v1/rounds', { json: {} })).body.id;
    await request(`/v1/rounds/${round}/cancel`, { method: 'POST' });
    const { sql } = api.server.connection;
    await sql`insert into round_pairs values (${round}, ${id}, 'train', false)`;
    const used = await remove(`/v1/preferences/${id}`, keys.feedback);
    assertError(used, 409);
    assert.equal(used.body.error.code, 'already_used');
    assert.match(used.body.error.message, new RegExp(`was used by ${round} `));
    assert.equal((await remove(`/v1/preferences/${id}`)).status, 200);
  });
}
