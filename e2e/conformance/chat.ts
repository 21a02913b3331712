// Chat completions without streaming: response, stored generation and retrieval.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eq } from 'drizzle-orm';
import { selectGenerations } from '../../shared/database/generations.ts';
import { generations } from '../../shared/database/schema.ts';
import type { Json } from '../../testing/edge-server.ts';
import type { Api } from './api.ts';

const messages = [{ role: 'user' as const, content: 'Once upon a time' }];

export function testChat(api: Api): void {
  const { client, server } = api;
  const { db } = server.connection;
  const getRow = async (id: string) => (await selectGenerations(db).where(eq(generations.id, id)))[0]!;

  test('a chat completion has the policy and token usage, and is stored with its tokens and log-probabilities', async () => {
    const { data: completion, response } = await client.chat.completions
      .create({ model: 'attune', messages, max_tokens: 12, seed: 5 })
      .withResponse();
    assert.equal(completion.object, 'chat.completion');
    assert.equal(completion.model, server.policyId);
    assert.equal(completion.system_fingerprint, server.policyId);
    assert.match(completion.id, /^chatcmpl-[0-9a-f]{32}$/);
    assert.ok(Math.abs(completion.created - Date.now() / 1000) < 60);
    assert.equal(completion.usage?.total_tokens, completion.usage!.prompt_tokens + completion.usage!.completion_tokens);
    assert.equal(response.headers.get('x-attune-compute'), api.runtime);
    assert.ok(response.headers.get('x-attune-compute-reason'));
    const row = await getRow(completion.id);
    assert.equal(row.text, completion.choices[0]?.message.content);
    assert.equal(row.token_ids.length, completion.usage?.completion_tokens);
    assert.equal(row.logps.length, row.token_ids.length);
    assert.ok(row.logps.every((logp) => logp <= 0));
    const stored = await client.chat.completions.retrieve(completion.id);
    assert.deepEqual(stored.choices, completion.choices);
  });

  test('sampling with a seed and greedy decoding are deterministic', async () => {
    const cases: [string, object][] = [
      ['seed 5', { seed: 5 }],
      ['seed 2, with penalties', { seed: 2, presence_penalty: 0.5, frequency_penalty: 0.5 }],
      ['seed 3, with nucleus sampling', { seed: 3, top_p: 0.9, top_k: 20, min_p: 0.01, temperature: 1.3 }],
      ['greedy', { temperature: 0 }],
      ['greedy, without end-of-text tokens', { temperature: 0, logit_bias: { 1: -100, 2: -100 } }],
    ];
    for (const [name, fields] of cases) {
      const json = { messages, max_tokens: 40, ...fields };
      const [first, second] = await Promise.all([
        api.request('/v1/chat/completions', { json }),
        api.request('/v1/chat/completions', { json }),
      ]);
      const [row, again] = [await getRow(first.body.id), await getRow(second.body.id)];
      assert.deepEqual(again.token_ids, row.token_ids, name);
      const { text, token_ids, prompt_token_ids, finish_reason, stop_token, seed, sampling, logps } = row;
      const seedGiven = 'seed' in fields ? { seed, sampling } : {};
      const { usage } = first.body;
      api.record(`chat, ${name}`, {
        text,
        token_ids,
        prompt_token_ids,
        finish_reason,
        stop_token,
        usage,
        ...seedGiven,
      });
      api.record(`chat, ${name}: log-probabilities`, logps);
    }
  });

  test('n choices have different texts and generation ids, and the first id is the completion’s', async () => {
    const completion = await client.chat.completions.create({
      model: 'attune',
      messages,
      n: 3,
      max_tokens: 8,
      seed: 1,
    });
    const ids = completion.choices.map((choice) => (choice as unknown as { generation_id: string }).generation_id);
    assert.equal(ids[0], completion.id);
    assert.equal(new Set(ids).size, 3);
    const texts = completion.choices.map((choice) => choice.message.content);
    assert.ok(new Set(texts).size > 1);
    api.record('three choices', texts);
  });

  test('logprobs have every token and its top alternatives', async () => {
    const completion = await client.chat.completions.create({
      model: 'attune',
      messages,
      max_tokens: 4,
      temperature: 0,
      logprobs: true,
      top_logprobs: 3,
    });
    const content = completion.choices[0]!.logprobs!.content!;
    assert.equal(content.length, completion.usage?.completion_tokens);
    for (const token of content) {
      assert.equal(token.top_logprobs.length, 3);
      // Greedy decoding: the sampled token is the argmax.
      assert.equal(token.top_logprobs[0]!.token, token.token);
    }
    api.record('logprobs of a chat', content);
  });

  test('store: false stores nothing', async () => {
    const completion = await client.chat.completions.create({ model: 'attune', messages, max_tokens: 4, store: false });
    await assert.rejects(client.chat.completions.retrieve(completion.id), { status: 404 });
  });

  test('accepts OpenAI’s roles, text parts, metadata and user, and returns the metadata', async () => {
    const { body } = await api.request('/v1/chat/completions', {
      json: {
        messages: [
          { role: 'developer', content: 'Be brief.' },
          {
            role: 'user',
            content: [
              { type: 'text', text: 'Once ' },
              { type: 'text', text: 'upon' },
            ],
            name: 'ann',
          },
          { role: 'assistant', content: 'a time' },
          { role: 'user', content: 'and then? äöü 漢字 👋' },
        ],
        max_completion_tokens: 4,
        temperature: 0,
        stop: ['\n\n'],
        user: `user of ${api.runtime}`,
        metadata: { lesson: 'one' },
      },
    });
    assert.deepEqual(body.metadata, { lesson: 'one' });
    const row = await getRow(body.id);
    assert.equal(row.user, `user of ${api.runtime}`);
    assert.deepEqual((row.prompt as Json)[1], { role: 'user', content: 'Once upon' });
    api.record('a chat of several turns', { prompt: row.prompt, ids: row.prompt_token_ids, token_ids: row.token_ids });
  });

  test('the list of chat completions has the same completions as retrieving each one', async () => {
    const created: Json[] = [];
    for (const n of [1, 3, 2])
      created.push((await api.request('/v1/chat/completions', { json: { messages, n, max_tokens: 4 } })).body);
    const { body } = await api.request('/v1/chat/completions?limit=3');
    assert.deepEqual(
      body.data.map((completion: Json) => completion.choices.length),
      [2, 3, 1],
    );
    for (const [at, completion] of body.data.toReversed().entries()) {
      assert.equal(completion.id, created[at].id);
      assert.deepEqual(completion.choices, created[at].choices);
      assert.deepEqual((await api.request(`/v1/chat/completions/${completion.id}`)).body, completion);
    }
    const page = (await api.request('/v1/chat/completions?limit=2')).body;
    assert.equal(page.has_more, true);
    assert.equal(page.last_id, created[1].id);
    const [newest] = (await client.chat.completions.list({ limit: 1 })).data;
    assert.deepEqual(newest, body.data[0]);
  });
}
