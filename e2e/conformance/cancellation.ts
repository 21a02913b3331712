// Generations that end before their end: their client goes away, or their time is up.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { eq } from 'drizzle-orm';
import OpenAI from 'openai';
import { generations } from '../../shared/database/schema.ts';
import type { Json } from '../../testing/edge-server.ts';
import { until } from '../../testing/extra-edge.ts';
import type { Api } from './api.ts';
import { followEvents, readEvents } from './server-sent-events.ts';

const messages = [{ role: 'user' as const, content: 'Once upon a time' }];

export function conformInterruptions(api: Api): void {
  const { client, stage } = api;
  const rowsOf = (user: string) =>
    stage.connection.db
      .select()
      .from(generations)
      .where(eq(generations.user, `${user}, ${api.runtime}`));
  /**
   * Choices of four thousand tokens, more than the deadline of this suite lets end; those of four such requests are
   * decoded together.
   */
  let endless: Json;
  before(async () => {
    const model = await api.importTiny(3, { contextLength: 4096 });
    endless = { model, max_tokens: 4000, n: 4, logit_bias: { 1: -100, 2: -100 } };
  });

  test('events come while they are made, and a client that goes away ends the decoding', async () => {
    const user = `leaving, ${api.runtime}`;
    const abort = new AbortController();
    const json = { ...endless, n: 1, messages, stream: true, user };
    const response = await api.fetch('/v1/chat/completions', { json, signal: abort.signal });
    for await (const { data } of followEvents(response)) if (JSON.parse(data).choices[0].delta.content) break;
    abort.abort();
    const [row] = await until(async () => {
      const rows = await rowsOf('leaving');
      return rows.length > 0 && rows;
    });
    assert.equal(row!.finish_reason, 'cancelled');
    assert.ok(row!.token_ids.length > 0 && row!.token_ids.length < 4000, String(row!.token_ids.length));
  });

  test('OpenAI’s client that breaks off its loop ends the decoding too', async () => {
    const user = `breaking off, ${api.runtime}`;
    const stream = await client.chat.completions.create({ ...endless, n: 1, messages, stream: true, user });
    for await (const chunk of stream as unknown as AsyncIterable<OpenAI.ChatCompletionChunk>)
      if (chunk.choices[0]?.delta.content) break;
    const [row] = await until(async () => {
      const rows = await rowsOf('breaking off');
      return rows.length > 0 && rows;
    });
    assert.equal(row!.finish_reason, 'cancelled');
  });

  test('past its deadline a stream ends with an error and no [DONE], which OpenAI’s client throws; an answer is 504', async () => {
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
    // Sent again it would take as long again.
    assert.equal(whole.headers.get('x-should-retry'), 'false');
    for (const { status, text } of await Promise.all(streams)) {
      assert.equal(status, 200);
      const { error } = JSON.parse(readEvents(text).at(-1)!.data);
      assert.deepEqual(Object.keys(error).sort(), ['code', 'message', 'param', 'type']);
      assert.equal(error.type, 'server_error');
      assert.equal(error.code, 'deadline_exceeded');
    }
    await thrown;
    const rows = await rowsOf('late');
    assert.equal(rows.length, 16);
    assert.ok(rows.every(({ finish_reason, token_ids }) => finish_reason === 'cancelled' && token_ids.length > 0));
  });

  test('what ended at its deadline has made room', () => assertRoom(api));

  // workerd outside of Cloudflare notices that a client has left only as it writes to it.
  if (api.runtime !== 'node') return;
  test('a client that does not wait for its answer ends the decoding, and makes room at once', async () => {
    const user = `impatient, ${api.runtime}`;
    const json = { ...endless, n: 16, prompt: 'Once', user };
    const signal = AbortSignal.timeout(700);
    await assert.rejects(api.fetch('/v1/completions', { json, signal }), { name: 'TimeoutError' });
    await assertRoom(api);
    const rows = await until(async () => {
      const found = await rowsOf('impatient');
      return found.length > 0 && found;
    });
    assert.ok(rows.every(({ finish_reason }) => finish_reason === 'cancelled'));
  });
}

/** Fails where something that nobody waits for is still being computed. */
async function assertRoom(api: Api): Promise<void> {
  const began = performance.now();
  const { status, body } = await api.request('/v1/completions', { json: { prompt: 'Once', max_tokens: 2 } });
  assert.equal(status, 200, JSON.stringify(body));
  assert.ok(performance.now() - began < 2000);
}
