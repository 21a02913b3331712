// Preferences: votes on comparisons, pairs of generations, and raw texts.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import type { Json } from '../../testing/edge-server.ts';
import type { Api } from './api.ts';

export function testPreferences(api: Api): void {
  const { client, request } = api;
  const compare = async (): Promise<Json> =>
    (await request('/v1/comparisons', { json: { prompt: 'Once upon a time', max_tokens: 4 } })).body;

  for (const choice of ['a', 'b', 'tie', 'both_bad', 'skip']) {
    test(`a vote of ${choice} is stored and can be retrieved`, async () => {
      const comparison = await compare();
      const vote: Json = await client.post('/preferences', {
        body: { comparison: comparison.id, choice, rater: 'ann', metadata: { took: 1.5, nested: { why: ['short'] } } },
      });
      assert.match(vote.id, /^pref_[0-9a-f]{32}$/);
      const [chosen, rejected] = choice === 'b' ? ['b', 'a'] : ['a', 'b'];
      assert.equal(vote.choice, choice);
      assert.equal(vote.chosen.text, comparison[chosen!].text);
      assert.equal(vote.rejected.text, comparison[rejected!].text);
      assert.deepEqual(vote.metadata, { took: 1.5, nested: { why: ['short'] } });
      const { status, body } = await request(`/v1/preferences/${vote.id}`);
      assert.equal(status, 200);
      assert.deepEqual(body, vote);
    });
  }

  test('a second vote by one rater is a non-retryable 409, and another rater can vote', async () => {
    const { id } = await compare();
    const json = { comparison: id, choice: 'a', rater: 'ann' };
    assert.equal((await request('/v1/preferences', { json })).status, 200);
    const again = await request('/v1/preferences', { json });
    assert.equal(again.status, 409);
    assert.equal(again.headers.get('x-should-retry'), 'false');
    assert.equal(again.body.error.code, 'already_voted');
    const before = api.calls.length;
    const retrying = api.connect({ maxRetries: 3 }).post('/preferences', { body: json });
    await assert.rejects(retrying, OpenAI.ConflictError);
    assert.equal(api.calls.length - before, 1);
    assert.equal((await request('/v1/preferences', { json: { ...json, rater: 'bob' } })).status, 200);
  });

  test('exactly one of ten concurrent votes by one rater is accepted', async () => {
    const { id } = await compare();
    const json = { comparison: id, choice: 'a', rater: 'hasty' };
    const responses = await Promise.all(Array.from({ length: 10 }, () => request('/v1/preferences', { json })));
    assert.deepEqual(responses.map(({ status }) => status).sort(), [200, ...Array(9).fill(409)]);
  });

  test('accepts two generations from one prompt, and rejects those from two prompts or the same one twice', async () => {
    const generate = async (prompt: string) =>
      (await request('/v1/completions', { json: { prompt, n: 2, max_tokens: 4 } })).body.choices;
    const [first, second] = await generate('Once');
    const good = await request('/v1/preferences', {
      json: { chosen: first.generation_id, rejected: second.generation_id },
    });
    assert.equal(good.status, 200, JSON.stringify(good.body));
    assert.equal(good.body.prompt, 'Once');
    assert.deepEqual([good.body.source, good.body.rater, good.body.trust], ['generations', 'anonymous', 'feedback']);
    const [other] = await generate('Then');
    const mixed = await request('/v1/preferences', {
      json: { chosen: first.generation_id, rejected: other.generation_id },
    });
    assert.equal(mixed.body.error.code, 'different_prompts');
    const same = await request('/v1/preferences', {
      json: { chosen: first.generation_id, rejected: first.generation_id },
    });
    assert.equal(same.status, 400);
    assert.equal(same.body.error.param, 'rejected');
  });

  test('a rater votes once on two texts, whichever is preferred', async () => {
    const pair = { prompt: `Twice, ${api.runtime}`, chosen: 'hi', rejected: 'no', rater: 'ann' };
    assert.equal((await request('/v1/preferences', { json: pair })).status, 200);
    for (const again of [pair, { ...pair, chosen: 'no', rejected: 'hi' }]) {
      const { status, body } = await request('/v1/preferences', { json: again });
      assert.deepEqual([status, body.error.code, body.error.param], [409, 'already_voted', 'chosen']);
    }
    assert.equal((await request('/v1/preferences', { json: { ...pair, rater: 'bob' } })).status, 200);
  });

  test('accepts raw texts in any script', async () => {
    const json = {
      messages: [{ role: 'user', content: 'Grüß mich 你好 👋🏽' }],
      chosen: 'Hello! مرحبا\u2028\t"\\',
      rejected: 'Go away.',
      rater: `ænn, ${api.runtime}`,
    };
    const { status, body } = await request('/v1/preferences', { json });
    assert.equal(status, 200);
    assert.equal(body.chosen.text, json.chosen);
    assert.equal(body.prompt[0].content, json.messages[0]!.content);
    assert.equal(body.rater, `user:${json.rater}`);
    assert.deepEqual((await request(`/v1/preferences/${body.id}`)).body, body);
  });

  test('the statistics count stored preferences', async () => {
    const count = async () => (await request('/v1/preferences/stats')).body;
    const before = await count();
    const { id } = await compare();
    await request('/v1/preferences', { json: { comparison: id, choice: 'both_bad', rater: `new, ${api.runtime}` } });
    const after = await count();
    assert.equal(after.total, before.total + 1);
    assert.equal(after.raters, before.raters + 1);
    assert.equal(after.by_choice.both_bad, before.by_choice.both_bad + 1);
    assert.equal(after.pairs_not_yet_seen, before.pairs_not_yet_seen);
    assert.equal(
      Object.values(after.by_source as Record<string, number>).reduce((sum, n) => sum + n),
      after.total,
    );
  });
}
