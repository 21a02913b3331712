// compare: true and regenerated_from: what a chat product asks for besides a completion, through OpenAI's client.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type OpenAI from 'openai';
import type { Json } from '../../testing/edge-server.ts';
import { type Api, KEYS } from './api.ts';
import { assertError } from './errors.ts';
import { parseChunks } from './server-sent-events.ts';

const messages = [{ role: 'user' as const, content: 'Once upon a time' }];

type Offered = { comparison: string };

export function testOfferedComparisons(api: Api): void {
  const { client, request } = api;
  // What OpenAI's types do not know is sent as it is.
  const params = { model: 'attune', messages, max_tokens: 6, compare: true };
  const asFirst = { authorization: `Bearer ${KEYS[0]}` };

  test('a chat completion with compare has two choices and a comparison of them to vote on', async () => {
    const completion = await client.chat.completions.create(params);
    const { comparison } = completion as unknown as Offered;
    assert.match(comparison, /^cmp_[0-9a-f]{32}$/);
    assert.deepEqual(
      completion.choices.map(({ index }) => index),
      [0, 1],
    );
    const { body } = await request(`/v1/comparisons/${comparison}`);
    assert.deepEqual([body.voted, body.prompt], [false, messages]);
    const [a, b] = completion.choices as (OpenAI.ChatCompletion.Choice & { generation_id: string })[];
    assert.deepEqual([body.a.text, body.b.text], [a!.message.content, b!.message.content]);
    const vote = await request('/v1/preferences', { json: { comparison, choice: 'b', rater: 'ann' } });
    assert.deepEqual(
      [vote.body.chosen.generation, vote.body.rejected.generation],
      [b!.generation_id, a!.generation_id],
    );
    const plain = await client.chat.completions.create({ ...params, compare: false, n: 2 } as typeof params);
    assert.ok(!('comparison' in plain));
    const one = await client.chat.completions.create({ ...params, n: 1 });
    assert.equal(one.choices.length, 2);
  });

  test('a stream with compare names the comparison on every chunk', async () => {
    const stream = await client.chat.completions.create({ ...params, n: 2, stream: true });
    const texts = ['', ''];
    const ids = new Set<string>();
    for await (const chunk of stream) {
      ids.add((chunk as unknown as Offered).comparison);
      for (const { index, delta } of chunk.choices) texts[index] += delta.content ?? '';
    }
    assert.equal(ids.size, 1);
    const { body } = await request(`/v1/comparisons/${[...ids][0]}`);
    assert.deepEqual([body.a.text, body.b.text], texts);
    const final = await client.chat.completions.stream(params).finalChatCompletion();
    assert.equal(final.choices.length, 2);
  });

  test('a repeated request with compare is the same comparison, as a stream too', async () => {
    for (const stream of [false, true]) {
      const headers = { ...asFirst, 'idempotency-key': `compare ${stream}, ${api.runtime}` };
      const send = () => request('/v1/chat/completions', { json: { ...params, stream }, headers });
      const [first, again] = [await send(), await send()];
      const read = ({ text, body }: { text: string; body: Json }) =>
        stream ? parseChunks(text).map((chunk) => chunk.comparison) : [body.comparison];
      assert.equal(again.headers.get('idempotent-replayed'), 'true');
      assert.deepEqual(new Set(read(again)), new Set(read(first)));
      assert.match(read(again)[0], /^cmp_/);
    }
  });

  test('what contradicts a comparison is refused with its field', async () => {
    const cases: [object, string][] = [
      [{ n: 3 }, 'n'],
      [{ store: false }, 'store'],
      [{ best_of: 4 }, 'best_of'],
      [{ ranker: 'mean_logp' }, 'ranker'],
    ];
    for (const [fields, param] of cases) {
      const response = await request('/v1/chat/completions', { json: { ...params, ...fields } });
      assertError(response, 400);
      assert.equal(response.body.error.param, param);
    }
  });

  test('a regenerated response names the one that it takes the place of, which has the same prompt', async () => {
    const chat = async (fields: object = {}) =>
      request('/v1/chat/completions', { json: { messages, max_tokens: 3, ...fields } });
    const { id } = (await chat()).body;
    const total = async () => (await request('/v1/preferences/stats')).body.total;
    const before = await total();
    const again = (await chat({ regenerated_from: id })).body;
    const { sql } = api.server.connection;
    const [row] = await sql`select regenerated_from from completions where id = ${again.id}`;
    assert.equal(row!.regenerated_from, id);
    // IMPLICIT_PAIRS is off.
    assert.equal(await total(), before);
    const other = await chat({ regenerated_from: id, messages: [{ role: 'user', content: 'Another' }] });
    assertError(other, 400);
    assert.deepEqual([other.body.error.code, other.body.error.param], ['different_prompts', 'regenerated_from']);
    assertError(await chat({ regenerated_from: 'chatcmpl-none' }), 404);
    assertError(await chat({ regenerated_from: id, store: false }), 400);
    const key = (await request('/v1/keys', { json: { name: 'other', scopes: ['generate'], tenant: 'elsewhere' } }))
      .body;
    const headers = { authorization: `Bearer ${key.key}` };
    const json = { messages, max_tokens: 3, regenerated_from: id };
    assertError(await request('/v1/chat/completions', { json, headers }), 404);

    const text = (await request('/v1/completions', { json: { prompt: 'Once', max_tokens: 3 } })).body;
    const write = (fields: object) =>
      request('/v1/completions', { json: { prompt: 'Once', max_tokens: 3, regenerated_from: text.id, ...fields } });
    assert.equal((await write({})).status, 200);
    assertError(await write({ prompt: 'Then' }), 400);
    assertError(await write({ prompt: ['Once', 'Once'] }), 400);
  });
}
