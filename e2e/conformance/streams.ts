// Streaming: framing of events, and OpenAI's client.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inArray } from 'drizzle-orm';
import type OpenAI from 'openai';
import { generations } from '../../shared/database/schema.ts';
import type { Json } from '../../testing/edge-server.ts';
import type { Api } from './api.ts';
import { parseChunks } from './server-sent-events.ts';

const messages = [{ role: 'user' as const, content: 'Once upon a time' }];

export function testStreams(api: Api): void {
  const { client, server } = api;

  test('a stream has the text of the same seed, ends with usage, and can be retrieved immediately', async () => {
    const params = { model: 'attune', messages, max_tokens: 12, seed: 7 };
    const whole = await client.chat.completions.create(params);
    const options = { stream: true, stream_options: { include_usage: true } } as const;
    const { data: stream, response } = await client.chat.completions.create({ ...params, ...options }).withResponse();
    assert.equal(response.headers.get('x-attune-compute'), api.runtime);
    assert.match(response.headers.get('x-request-id') ?? '', /^req_/);
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

  test('the streaming helper of OpenAI’s client assembles the same completion', async () => {
    const params = { model: 'attune', messages, max_tokens: 12, seed: 7 };
    const whole = await client.chat.completions.create(params);
    const runner = client.chat.completions.stream({ ...params, stream_options: { include_usage: true } });
    let streamed = '';
    runner.on('content', (delta) => {
      streamed += delta;
    });
    const final = await runner.finalChatCompletion();
    assert.equal(final.choices[0]!.message.content, whole.choices[0]!.message.content);
    assert.equal(final.choices[0]!.finish_reason, whole.choices[0]!.finish_reason);
    assert.equal(streamed, whole.choices[0]!.message.content);
    assert.deepEqual(await runner.totalUsage(), whole.usage);
  });

  test('a chat stream has the roles first, one finish_reason per choice, and usage last', async () => {
    const json = { messages, n: 2, max_tokens: 6, seed: 3, stream: true, logprobs: true };
    const { text, headers, status } = await api.request('/v1/chat/completions', {
      json: { ...json, stream_options: { include_usage: true } },
    });
    assert.equal(status, 200);
    assert.equal(headers.get('content-type'), 'text/event-stream; charset=utf-8');
    assert.equal(headers.get('cache-control'), 'no-cache');
    const chunks = parseChunks(text);
    for (const chunk of chunks) assert.deepEqual([chunk.id, chunk.created], [chunks[0].id, chunks[0].created]);
    assert.deepEqual(
      chunks.slice(0, 2).map(({ choices: [{ index, delta }] }) => [index, delta.role]),
      [
        [0, 'assistant'],
        [1, 'assistant'],
      ],
    );
    const last = chunks.at(-1);
    assert.deepEqual(last.choices, []);
    assert.ok(last.usage.completion_tokens > 0);
    for (const chunk of chunks.slice(0, -1)) assert.equal(chunk.usage, null);
    const ends = chunks.flatMap(({ choices }) => choices).filter(({ finish_reason }) => finish_reason !== null);
    assert.deepEqual(ends.map(({ index }) => index).sort(), [0, 1]);
    const without = parseChunks((await api.request('/v1/chat/completions', { json })).text);
    assert.ok(without.every((chunk) => !('usage' in chunk) && chunk.choices.length === 1));
    const textOf = (list: Json[], at: number) =>
      list
        .flatMap(({ choices }) => choices)
        .filter(({ index }) => index === at)
        .map(({ delta }) => delta.content ?? '')
        .join('');
    for (const at of [0, 1]) assert.equal(textOf(without, at), textOf(chunks, at));
    api.record('two choices streamed', [textOf(chunks, 0), textOf(chunks, 1)]);
  });

  test('a text stream separates prompts and choices, and ends each with its generation id', async () => {
    const stream = await client.completions.create({
      model: 'attune',
      prompt: ['Once', 'Then'],
      n: 2,
      max_tokens: 5,
      seed: 6,
      stream: true,
      stream_options: { include_usage: true },
    });
    const texts = ['', '', '', ''];
    const ids = new Set<string>();
    for await (const chunk of stream) {
      const [choice] = chunk.choices as Json[];
      if (!choice) continue;
      texts[choice.index] += choice.text;
      if (choice.generation_id) ids.add(choice.generation_id);
    }
    assert.equal(ids.size, 4);
    const { db } = server.connection;
    const rows = await db
      .select()
      .from(generations)
      .where(inArray(generations.id, [...ids]));
    assert.deepEqual(new Set(rows.map(({ text }) => text)), new Set(texts));
    api.record('two prompts streamed', texts);
  });

  test('an error before the first event is a regular error response', async () => {
    const wrong = { messages, max_tokens: 1e6, stream: true };
    const { status, headers, body } = await api.request('/v1/chat/completions', { json: wrong });
    assert.equal(status, 400);
    assert.match(headers.get('content-type') ?? '', /^application\/json/);
    assert.equal(body.error.code, 'context_length_exceeded');
  });
}
