// Feedback on a generation: thumbs, scores, comments, tags and better responses, which become pairs.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Json } from '../../testing/edge-server.ts';
import { type Api, KEYS } from './api.ts';
import { assertError } from './errors.ts';
import { openRaterSession } from './open-session.ts';

export function testFeedback(api: Api): void {
  const { request } = api;
  const asFirst = { authorization: `Bearer ${KEYS[0]}` };
  const messages = [{ role: 'user', content: 'Once upon a time' }];
  const generate = async (): Promise<{ id: string; text: string }> => {
    const { body } = await request('/v1/chat/completions', { json: { messages, max_tokens: 4 } });
    return { id: body.id, text: body.choices[0].message.content };
  };
  const give = async (json: object, headers: Record<string, string> = asFirst): Promise<Json> => {
    const { status, body } = await request('/v1/feedback', { json, headers });
    assert.equal(status, 200, JSON.stringify(body));
    return body;
  };
  const remove = (id: string, headers: Record<string, string> = asFirst) =>
    request(`/v1/feedback/${id}`, { method: 'DELETE', headers });

  test('feedback is stored, listed, and retracted', async () => {
    const { id: generation } = await generate();
    const said = { thumb: -1, score: 0.1, comment: 'Too short.', tags: ['short', 'short', 'cold'] };
    const feedback = await give({ generation, ...said, rater: 'ann' });
    assert.match(feedback.id, /^fb_[0-9a-f]{32}$/);
    const { id, created, ...fields } = feedback;
    assert.ok(created > 1e9);
    assert.deepEqual(fields, {
      object: 'feedback',
      generation,
      rater: 'user:ann',
      ...said,
      tags: ['short', 'cold'],
      demonstration: null,
      preference: null,
    });
    assert.deepEqual((await request(`/v1/feedback/${id}`)).body, feedback);
    assert.deepEqual((await request('/v1/feedback?limit=1')).body.data, [feedback]);
    const { body } = await remove(id);
    assert.deepEqual(body, { id, object: 'feedback.deleted', deleted: true, erasure: null });
    assertError(await request(`/v1/feedback/${id}`), 404);
    assertError(await remove(id), 404);
  });

  test('later feedback of a rater replaces what it names, and null takes it back', async () => {
    const { id: generation } = await generate();
    const first = await give({ generation, thumb: 1, comment: 'Good.', rater: 'ann' });
    const other = await give({ generation, thumb: 1, rater: 'bob' });
    assert.notEqual(other.id, first.id);
    const later = await give({ generation, thumb: -1, tags: ['wrong'], rater: 'ann' });
    assert.deepEqual(later, { ...first, thumb: -1, tags: ['wrong'] });
    const last = await give({ generation, comment: null, tags: null, score: 1, rater: 'ann' });
    assert.deepEqual(last, { ...later, comment: null, tags: [], score: 1 });
  });

  test('ten at once are one row', async () => {
    const { id: generation } = await generate();
    const given = await Promise.all(
      Array.from({ length: 10 }, () => give({ generation, thumb: 1, demonstration: 'Better.' })),
    );
    assert.equal(new Set(given.map(({ id }) => id)).size, 1);
    assert.equal(new Set(given.map(({ preference }) => preference)).size, 1);
  });

  test('a demonstration is a pair, which goes when it is replaced or retracted, from either side', async () => {
    const { id: generation, text } = await generate();
    const first = await give({ generation, demonstration: 'A better answer.', rater: 'ann' });
    const pair = (await request(`/v1/preferences/${first.preference}`)).body;
    assert.deepEqual(
      [pair.source, pair.trust, pair.rater, pair.edit_of],
      ['demonstration', 'feedback', 'user:ann', null],
    );
    assert.deepEqual(
      [pair.chosen, pair.rejected],
      [
        { text: 'A better answer.', generation: null },
        { text, generation },
      ],
    );
    assert.deepEqual(pair.prompt, messages);
    assert.equal((await give({ generation, thumb: -1, rater: 'ann' })).preference, first.preference);
    const second = await give({ generation, demonstration: 'The best answer.', rater: 'ann' });
    assertError(await request(`/v1/preferences/${first.preference}`), 404);
    assert.equal((await request(`/v1/preferences/${second.preference}`)).body.chosen.text, 'The best answer.');

    const key = await request('/v1/keys', { json: { name: 'product', scopes: ['feedback', 'generate', 'read'] } });
    const headers = { authorization: `Bearer ${key.body.key}` };
    const third = await give({ generation, demonstration: 'Mine.', rater: 'eve' }, headers);
    const retracted = await request(`/v1/preferences/${third.preference}`, { method: 'DELETE', headers });
    assert.equal(retracted.status, 200, retracted.text);
    const left = (await request(`/v1/feedback/${third.id}`)).body;
    assert.deepEqual([left.demonstration, left.preference], [null, null]);
    assert.equal((await remove(second.id)).status, 200);
    assertError(await request(`/v1/preferences/${second.preference}`), 404);
  });

  test('a demonstration that a round has used stays', async () => {
    const { id: generation } = await generate();
    const { id, preference } = await give({ generation, demonstration: 'Learned.', rater: 'ann' });
    const round = (await request('/v1/rounds', { json: {} })).body.id;
    await request(`/v1/rounds/${round}/cancel`, { method: 'POST' });
    const { sql } = api.server.connection;
    await sql`insert into round_pairs values (${round}, ${preference}, 'train', false)`;
    for (const response of [
      await remove(id),
      await request('/v1/feedback', { json: { generation, demonstration: 'Other.', rater: 'ann' }, headers: asFirst }),
    ]) {
      assertError(response, 409);
      assert.equal(response.body.error.code, 'already_used');
    }
    assert.equal(
      (await give({ generation, demonstration: 'Learned.', thumb: 1, rater: 'ann' })).preference,
      preference,
    );
    assert.equal((await request(`/v1/preferences/${preference}`, { method: 'DELETE' })).status, 200);
    const left = (await request(`/v1/feedback/${id}`)).body;
    assert.deepEqual([left.thumb, left.demonstration, left.preference], [1, null, null]);
  });

  test('raters say what they think as themselves, and keys that only rate write no texts', async () => {
    const { id: generation } = await generate();
    const { body } = await request('/v1/keys', { json: { name: 'rates', scopes: ['rate'] } });
    const headers = { authorization: `Bearer ${body.key}` };
    assert.equal((await give({ generation, thumb: 1 }, headers)).rater, body.id);
    for (const [fields, param] of [
      [{ demonstration: 'Mine.' }, 'demonstration'],
      [{ thumb: 1, rater: 'ann' }, 'rater'],
    ] as const) {
      const refused = await request('/v1/feedback', { json: { generation, ...fields }, headers });
      assertError(refused, 403);
      assert.equal(refused.body.error.param, param);
    }
    const { cookie, rater } = await openRaterSession(api);
    const sent = await fetch(`${api.url}/v1/feedback`, {
      method: 'POST',
      headers: { cookie, 'content-type': 'application/json' },
      body: JSON.stringify({ generation, demonstration: 'Ours.' }),
    });
    const given = (await sent.json()) as Json;
    assert.equal(given.rater, rater.id, JSON.stringify(given));
    assert.equal((await request(`/v1/preferences/${given.preference}`)).body.trust, 'rated');
  });

  test('feedback that says nothing, or what it may not, is refused with the field', async () => {
    const { id: generation, text } = await generate();
    const cases: [object, string][] = [
      [{}, 'thumb'],
      [{ thumb: 0 }, 'thumb'],
      [{ score: 1.1 }, 'score'],
      [{ comment: 'x'.repeat(4001) }, 'comment'],
      [{ demonstration: text }, 'demonstration'],
      [{ thumb: 1, rater: 'user:ann' }, 'rater'],
    ];
    for (const [fields, param] of cases) {
      const response = await request('/v1/feedback', { json: { generation, ...fields } });
      assertError(response, 400);
      assert.equal(response.body.error.param, param, JSON.stringify(fields));
    }
    const unknown = await request('/v1/feedback', { json: { generation: 'chatcmpl-none', thumb: 1 } });
    assertError(unknown, 404);
    assert.equal(unknown.body.error.param, 'generation');
  });

  test('the same Idempotency-Key gives the same feedback once', async () => {
    const { id: generation } = await generate();
    const headers = { ...asFirst, 'idempotency-key': `feedback, ${api.runtime}` };
    const first = await give({ generation, thumb: 1 }, headers);
    await give({ generation, thumb: -1 });
    const again = await request('/v1/feedback', { json: { generation, thumb: 1 }, headers });
    assert.deepEqual([again.body, again.headers.get('idempotent-replayed')], [first, 'true']);
    assert.equal((await request(`/v1/feedback/${first.id}`)).body.thumb, -1);
  });
}
