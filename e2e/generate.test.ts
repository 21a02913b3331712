// The generating half of the API, driven by OpenAI's own client.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eq } from 'drizzle-orm';
import OpenAI from 'openai';
import { generations } from '../shared/database/schema.ts';
import { setStage } from './stage.ts';

const stage = await setStage();
const client = new OpenAI({ baseURL: `${stage.edge.url}/v1`, apiKey: 'unused', maxRetries: 0 });
const messages = [{ role: 'user' as const, content: 'Once upon a time' }];

test('a chat completion names the policy, counts tokens, and is stored with its tokens and log-probabilities', async () => {
  const answer = await client.chat.completions.create({ model: 'attune', messages, max_tokens: 12, seed: 5 });
  assert.equal(answer.object, 'chat.completion');
  assert.equal(answer.model, stage.policyId);
  assert.match(answer.id, /^chatcmpl-[0-9a-f]{32}$/);
  assert.equal(answer.usage?.total_tokens, answer.usage!.prompt_tokens + answer.usage!.completion_tokens);
  const [row] = await stage.connection.db.select().from(generations).where(eq(generations.id, answer.id));
  assert.equal(row?.text, answer.choices[0]?.message.content);
  assert.equal(row?.token_ids.length, answer.usage?.completion_tokens);
  assert.equal(row?.logps.length, row?.token_ids.length);
  assert.ok(row?.logps.every((logp) => logp <= 0));
  const stored = await client.chat.completions.retrieve(answer.id);
  assert.equal(stored.choices[0]?.message.content, answer.choices[0]?.message.content);
});

test('a stream joins to the text of the same seed, ends with usage and [DONE], and can be fetched at once', async () => {
  const whole = await client.chat.completions.create({ model: 'attune', messages, max_tokens: 12, seed: 7 });
  const stream = await client.chat.completions.create({
    model: 'attune',
    messages,
    max_tokens: 12,
    seed: 7,
    stream: true,
    stream_options: { include_usage: true },
  });
  let text = '';
  let id = '';
  let usage: OpenAI.CompletionUsage | null | undefined;
  for await (const chunk of stream) {
    assert.equal(chunk.object, 'chat.completion.chunk');
    id ||= chunk.id;
    assert.equal(chunk.id, id);
    text += chunk.choices[0]?.delta.content ?? '';
    usage = chunk.usage;
  }
  assert.equal(text, whole.choices[0]?.message.content);
  assert.deepEqual(usage, whole.usage);
  assert.equal((await client.chat.completions.retrieve(id)).choices[0]?.message.content, text);
});

test('n choices differ, each with a generation id of its own, the first being the completion’s', async () => {
  const answer = await client.chat.completions.create({ model: 'attune', messages, n: 3, max_tokens: 8, seed: 1 });
  const ids = answer.choices.map((choice) => (choice as unknown as { generation_id: string }).generation_id);
  assert.equal(ids[0], answer.id);
  assert.equal(new Set(ids).size, 3);
  assert.ok(new Set(answer.choices.map((choice) => choice.message.content)).size > 1);
});

test('logprobs come with each token and its most likely alternatives', async () => {
  const answer = await client.chat.completions.create({
    model: 'attune',
    messages,
    max_tokens: 4,
    temperature: 0,
    logprobs: true,
    top_logprobs: 3,
  });
  const content = answer.choices[0]!.logprobs!.content!;
  assert.equal(content.length, answer.usage?.completion_tokens);
  for (const token of content) {
    assert.equal(token.top_logprobs.length, 3);
    // Greedy: the token drawn is the most likely one.
    assert.equal(token.top_logprobs[0]!.token, token.token);
  }
});

test('a text completion continues a text, several texts, and token ids', async () => {
  const answer = await client.completions.create({ model: 'attune', prompt: 'Once', max_tokens: 4, seed: 3 });
  assert.equal(answer.object, 'text_completion');
  const both = await client.completions.create({ model: 'attune', prompt: ['Once', 'Then'], n: 2, max_tokens: 4 });
  assert.deepEqual(
    both.choices.map((choice) => choice.index),
    [0, 1, 2, 3],
  );
  const ids = await client.completions.create({ model: 'attune', prompt: [1, 5, 6], max_tokens: 4 });
  assert.equal(ids.usage?.prompt_tokens, 3);
});

test('a stop string ends the text before it', async () => {
  const whole = await client.completions.create({ model: 'attune', prompt: 'Once', max_tokens: 30, temperature: 0 });
  const text = whole.choices[0]!.text;
  const stop = text.slice(5, 8);
  const cut = await client.completions.create({
    model: 'attune',
    prompt: 'Once',
    max_tokens: 30,
    temperature: 0,
    stop,
  });
  assert.equal(cut.choices[0]!.text, text.slice(0, text.indexOf(stop)));
  assert.equal(cut.choices[0]!.finish_reason, 'stop');
});

test('store: false leaves nothing behind', async () => {
  const answer = await client.chat.completions.create({ model: 'attune', messages, max_tokens: 4, store: false });
  await assert.rejects(client.chat.completions.retrieve(answer.id), { status: 404 });
});

test('a client that goes away stops the decoding, and what was produced is stored as cancelled', async () => {
  const abort = new AbortController();
  const stream = await client.chat.completions.create(
    { model: 'attune', messages, max_tokens: 100, stream: true, logit_bias: { 2: -100, 1: -100 } },
    { signal: abort.signal },
  );
  let id = '';
  for await (const chunk of stream) {
    id = chunk.id;
    if (chunk.choices[0]?.delta.content) break;
  }
  abort.abort();
  let row: typeof generations.$inferSelect | undefined;
  for (let attempt = 0; attempt < 100 && !row; attempt++) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    [row] = await stage.connection.db.select().from(generations).where(eq(generations.id, id));
  }
  assert.ok(row);
  // A tiny policy may be done before the news of the leaving client arrives.
  assert.ok(row.finish_reason === 'cancelled' ? row.token_ids.length < 100 : row.finish_reason === 'length');
});

test('the models are the policies and attune, and an id asks for that very policy', async () => {
  const other = await stage.importTiny(2);
  const ids = (await client.models.list()).data.map((model) => model.id);
  assert.deepEqual(new Set(ids), new Set(['attune', stage.policyId, other]));
  const answer = await client.completions.create({ model: other, prompt: 'Once', max_tokens: 2 });
  assert.equal(answer.model, other);
  assert.equal(
    (await client.completions.create({ model: 'attune', prompt: 'Once', max_tokens: 2 })).model,
    stage.policyId,
  );
});

test('health, the OpenAPI document and its page are there for everybody', async () => {
  assert.deepEqual((await stage.request('/status')).body, { status: 'ok' });
  assert.deepEqual((await stage.request('/health')).body, { status: 'ok', postgres: 'ok', policy: stage.policyId });
  const document = (await stage.request('/openapi.json')).body;
  assert.equal(document.openapi, '3.1.0');
  assert.ok(
    document.paths['/v1/chat/completions'].post.requestBody.content['application/json'].schema.properties.messages,
  );
  assert.ok(document.paths['/v1/comparisons/{id}'].get);
  assert.match((await stage.request('/docs')).body, /swagger-ui/);
  assert.equal((await stage.request('/docs/swagger-ui-bundle.js')).status, 200);
});

const refusals: [string, string, unknown, number, string | null, RegExp][] = [
  ['messages of the wrong type', '/v1/chat/completions', { messages: 'hello' }, 400, 'messages', /array/],
  ['empty messages', '/v1/chat/completions', { messages: [] }, 400, 'messages', /at least one message/],
  [
    'messages without content',
    '/v1/chat/completions',
    { messages: [{ role: 'user', content: ' ' }] },
    400,
    'messages',
    /empty/,
  ],
  ['an unknown field', '/v1/chat/completions', { messages, temprature: 1 }, 400, 'temprature', /not known/],
  ['an impossible temperature', '/v1/chat/completions', { messages, temperature: -1 }, 400, 'temperature', /0/],
  ['a thousand choices', '/v1/chat/completions', { messages, n: 1000 }, 400, 'n', /16/],
  [
    'an image',
    '/v1/chat/completions',
    { messages: [{ role: 'user', content: [{ type: 'image_url' }] }] },
    400,
    'messages.0.content',
    /text parts/,
  ],
  ['an unknown policy', '/v1/chat/completions', { messages, model: 'pol_unknown' }, 404, 'model', /pol_unknown/],
  [
    'a prompt longer than the context',
    '/v1/chat/completions',
    { messages: [{ role: 'user', content: 'word '.repeat(2000) }] },
    400,
    'messages',
    /context/,
  ],
  ['an empty prompt', '/v1/completions', { prompt: '' }, 400, 'prompt', /empty/],
  ['a token outside the vocabulary', '/v1/completions', { prompt: [999999] }, 400, 'prompt', /vocabulary/],
];
for (const [name, path, json, status, param, message] of refusals) {
  test(`${name} gets a clear refusal in OpenAI's shape`, async () => {
    const { status: actual, body } = await stage.request(path, { json });
    assert.equal(actual, status, JSON.stringify(body));
    assert.deepEqual(Object.keys(body.error).sort(), ['code', 'message', 'param', 'type']);
    assert.equal(body.error.param, param);
    assert.match(body.error.message, message);
  });
}

test('malformed JSON, a body over the limit and an unknown path are refused', async () => {
  const malformed = await stage.request('/v1/completions', { method: 'POST', body: '{"prompt": ' });
  assert.equal(malformed.status, 400);
  assert.match(malformed.body.error.message, /not valid JSON/);
  const large = await stage.request('/v1/completions', { json: { prompt: 'x'.repeat(2_000_000) } });
  assert.equal(large.status, 413);
  assert.equal(large.body.error.code, 'body_too_large');
  const nowhere = await stage.request('/v1/nothing');
  assert.equal(nowhere.status, 404);
  assert.equal(nowhere.body.error.type, 'not_found_error');
});
