// Comparisons: two responses side by side, blind until the first vote.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Json } from '../../testing/edge-server.ts';
import { type Api, KEYS } from './api.ts';
import { assertError } from './errors.ts';
import { parseChunks } from './server-sent-events.ts';

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

  test('a stream has the texts of the same seed evenly, and ends with the comparison', async () => {
    const json = { prompt: 'Once upon a time', max_tokens: 12, seed: 7 };
    const whole = await compare(json);
    const { status, headers, text } = await request('/v1/comparisons', { json: { ...json, stream: true } });
    assert.equal(status, 200, text);
    assert.equal(headers.get('content-type'), 'text/event-stream; charset=utf-8');
    const events = parseChunks(text);
    const comparison = events.pop();
    assert.deepEqual(Object.keys(comparison).sort(), Object.keys(whole).sort());
    assert.deepEqual([comparison.a.text, comparison.b.text].sort(), [whole.a.text, whole.b.text].sort());
    assert.ok(events.length > 2);
    const texts = { a: '', b: '' };
    for (const event of events) {
      assert.deepEqual(Object.keys(event), ['object', 'id', 'side', 'text']);
      assert.deepEqual([event.object, event.id], ['comparison.chunk', comparison.id]);
      texts[event.side as 'a' | 'b'] += event.text;
    }
    const order = events.map(({ side }) => side);
    assert.ok(order.indexOf('b') < order.lastIndexOf('a') && order.indexOf('a') < order.lastIndexOf('b'), text);
    assert.deepEqual(texts, { a: comparison.a.text, b: comparison.b.text });
    assert.deepEqual((await request(`/v1/comparisons/${comparison.id}`)).body, comparison);
    const vote = { comparison: comparison.id, choice: 'a' };
    assert.equal((await request('/v1/preferences', { json: vote })).status, 200);
  });

  test('a streamed comparison of two policies has a side of each', async () => {
    const other = await api.importTiny(2);
    const json = { prompt: 'Once', models: [server.policyId, other], max_tokens: 6, stream: true };
    const comparison = parseChunks((await request('/v1/comparisons', { json })).text).at(-1);
    await request('/v1/preferences', { json: { comparison: comparison.id, choice: 'tie' } });
    const { a, b } = (await request(`/v1/comparisons/${comparison.id}`)).body;
    assert.deepEqual(new Set([a.model, b.model]), new Set([server.policyId, other]));
    assert.deepEqual([a.text, b.text], [comparison.a.text, comparison.b.text]);
  });

  test('a repeated stream is the same comparison, each side in one chunk', async () => {
    const json = { prompt: 'Once', max_tokens: 5, stream: true, id: `streamed, ${api.runtime}` };
    // The key belongs to its caller.
    const init = { json, headers: { authorization: `Bearer ${KEYS[0]}` } };
    const original = parseChunks((await request('/v1/comparisons', init)).text).at(-1);
    const again = await request('/v1/comparisons', init);
    assert.equal(again.headers.get('idempotent-replayed'), 'true');
    const [a, b, comparison] = parseChunks(again.text);
    assert.deepEqual(comparison, original);
    assert.deepEqual([a.side, a.text, b.side, b.text], ['a', original.a.text, 'b', original.b.text]);
  });

  test('an error before the first event of a stream is a regular error response', async () => {
    assertError(await request('/v1/comparisons', { json: { prompt: 'Once', max_tokens: 1e6, stream: true } }), 400);
  });
}
