// Comparisons: two responses side by side, blind until the first vote.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Json } from '../../testing/edge-server.ts';
import type { Api } from './api.ts';

export function testComparisons(api: Api): void {
  const { server, request } = api;
  const compare = async (extra: object = {}): Promise<Json> => {
    const { status, headers, body } = await request('/v1/comparisons', {
      json: { prompt: 'Once upon a time', max_tokens: 6, ...extra },
    });
    assert.equal(status, 200, JSON.stringify(body));
    assert.equal(headers.get('x-attune-compute'), api.runtime);
    return body;
  };

  test('a comparison is blind until the first vote', async () => {
    const comparison = await compare({ metadata: { lesson: 'two' } });
    assert.match(comparison.id, /^cmp_/);
    assert.deepEqual(comparison.metadata, { lesson: 'two' });
    assert.equal(comparison.voted, false);
    assert.deepEqual(Object.keys(comparison.a).sort(), ['finish_reason', 'text']);
    assert.deepEqual((await request(`/v1/comparisons/${comparison.id}`)).body, comparison);
    const vote = await request('/v1/preferences', { json: { comparison: comparison.id, choice: 'b', rater: 'ann' } });
    assert.equal(vote.status, 200);
    assert.equal(vote.body.chosen.text, comparison.b.text);
    assert.equal(vote.body.rejected.text, comparison.a.text);
    const after = (await request(`/v1/comparisons/${comparison.id}`)).body;
    assert.equal(after.voted, true);
    assert.equal(after.b.generation, vote.body.chosen.generation);
    assert.equal(after.b.model, server.policyId);
  });

  test('two policies can be compared, with shuffled sides', async () => {
    const other = await api.importTiny(2);
    const firsts = new Set<string>();
    for (let at = 0; at < 20 && firsts.size < 2; at++) {
      const { id } = await compare({ models: [server.policyId, other], seed: at });
      await request('/v1/preferences', { json: { comparison: id, choice: 'tie' } });
      const voted = (await request(`/v1/comparisons/${id}`)).body;
      assert.deepEqual(new Set([voted.a.model, voted.b.model]), new Set([server.policyId, other]));
      firsts.add(voted.a.model);
    }
    assert.equal(firsts.size, 2);
  });

  test('the same seed gives the same two texts', async () => {
    const sides = async () => {
      const { a, b } = await compare({ seed: 11, max_tokens: 20 });
      return [a.text, b.text].sort();
    };
    const first = await sides();
    assert.deepEqual(await sides(), first);
    assert.notEqual(first[0], first[1]);
    api.record('the sides of a comparison', first);
  });

  test('the sides of a comparison are no stored chat completions, which would name their policies', async () => {
    const messages = [{ role: 'user', content: 'Blind' }];
    const list = async () => (await request('/v1/chat/completions?limit=5')).text;
    const before = await list();
    const { id } = await compare({ prompt: undefined, messages, max_tokens: 3 });
    await request('/v1/preferences', { json: { comparison: id, choice: 'a' } });
    const { a, b } = (await request(`/v1/comparisons/${id}`)).body;
    assert.equal(await list(), before);
    for (const { generation } of [a, b])
      assert.equal((await request(`/v1/chat/completions/${generation}`)).status, 404);
  });
}
