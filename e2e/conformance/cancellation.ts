// Generations that are cancelled: the client disconnects, or the deadline passes.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { eq } from 'drizzle-orm';
import OpenAI from 'openai';
import { selectGenerations } from '../../shared/database/generations.ts';
import { completions } from '../../shared/database/schema.ts';
import type { Json } from '../../testing/edge-server.ts';
import { waitUntil } from '../../testing/wait-until.ts';
import type { Api } from './api.ts';
import { followEvents, parseEvents } from './server-sent-events.ts';

const messages = [{ role: 'user' as const, content: 'Once upon a time' }];

export function testCancellation(api: Api): void {
  const { client, server } = api;
  const getRows = (user: string) =>
    selectGenerations(server.connection.db).where(eq(completions.user, `${user}, ${api.runtime}`));
  /** Four choices of 4000 tokens, longer than this suite's deadline; four such requests fit one batch. */
  let endless: Json;
  before(async () => {
    const model = await api.importTiny(3, { contextLength: 4096 });
    endless = { model, max_tokens: 4000, n: 3, logit_bias: { 1: -100, 2: -100 } };
  });

  test('events arrive during decoding, and a disconnecting client cancels it', async () => {
    const user = `leaving, ${api.runtime}`;
    const abort = new AbortController();
    const json = { ...endless, n: 1, messages, stream: true, user };
    const response = await api.fetch('/v1/chat/completions', { json, signal: abort.signal });
    for await (const { data } of followEvents(response)) if (JSON.parse(data).choices[0].delta.content) break;
    abort.abort();
    const [row] = await waitUntil(async () => {
      const rows = await getRows('leaving');
      return rows.length > 0 && rows;
    });
    assert.equal(row!.finish_reason, 'cancelled');
    assert.ok(row!.token_ids.length > 0 && row!.token_ids.length < 4000, String(row!.token_ids.length));
  });

  test('breaking out of the loop of OpenAI’s client cancels decoding', async () => {
    const user = `breaking off, ${api.runtime}`;
    const stream = await client.chat.completions.create({ ...endless, n: 1, messages, stream: true, user });
    for await (const chunk of stream as unknown as AsyncIterable<OpenAI.ChatCompletionChunk>)
      if (chunk.choices[0]?.delta.content) break;
    const [row] = await waitUntil(async () => {
      const rows = await getRows('breaking off');
      return rows.length > 0 && rows;
    });
    assert.equal(row!.finish_reason, 'cancelled');
  });

  test('past its deadline a stream ends with an error and without [DONE], and a request without streaming gets 504', async () => {
    const user = `late, ${api.runtime}`;
    const read = async () => {
      const stream = await client.chat.completions.create({ ...endless, messages, stream: true, user });
      for await (const _ of stream as unknown as AsyncIterable<unknown>);
    };
    const thrown = assert.rejects(read, (error) => {
      assert.ok(error instanceof OpenAI.APIError);
      assert.equal(error.code, 'deadline_exceeded');
      return true;
    });
    const streams = [
      api.request('/v1/chat/completions', { json: { ...endless, messages, stream: true, user } }),
      api.request('/v1/completions', { json: { ...endless, prompt: 'Once', stream: true, user } }),
    ];
    const whole = await api.request('/v1/completions', { json: { ...endless, prompt: 'Once', user } });
    assert.equal(whole.status, 504);
    assert.equal(whole.body.error.code, 'deadline_exceeded');
    // A retry would take as long.
    assert.equal(whole.headers.get('x-should-retry'), 'false');
    for (const { status, text } of await Promise.all(streams)) {
      assert.equal(status, 200);
      const { error } = JSON.parse(parseEvents(text).at(-1)!.data);
      assert.deepEqual(Object.keys(error).sort(), ['code', 'message', 'param', 'type']);
      assert.equal(error.type, 'server_error');
      assert.equal(error.code, 'deadline_exceeded');
    }
    await thrown;
    const rows = await getRows('late');
    assert.equal(rows.length, 12);
    assert.ok(rows.every(({ finish_reason, token_ids }) => finish_reason === 'cancelled' && token_ids.length > 0));
  });

  test('timed-out generations free their batch slots', () => assertCapacity(api));

  // workerd outside of Cloudflare detects a disconnected client only when it writes.
  if (api.runtime !== 'node') return;
  test('a client that aborts its request cancels decoding and frees its batch slots at once', async () => {
    const user = `impatient, ${api.runtime}`;
    const json = { ...endless, n: 16, prompt: 'Once', user };
    const signal = AbortSignal.timeout(700);
    await assert.rejects(api.fetch('/v1/completions', { json, signal }), { name: 'TimeoutError' });
    await assertCapacity(api);
    const rows = await waitUntil(async () => {
      const found = await getRows('impatient');
      return found.length > 0 && found;
    });
    assert.ok(rows.every(({ finish_reason }) => finish_reason === 'cancelled'));
  });
}

/** Fails when cancelled generations still occupy the batch. */
async function assertCapacity(api: Api): Promise<void> {
  const started = performance.now();
  const { status, body } = await api.request('/v1/completions', { json: { prompt: 'Once', max_tokens: 2 } });
  assert.equal(status, 200, JSON.stringify(body));
  assert.ok(performance.now() - started < 2000);
}
