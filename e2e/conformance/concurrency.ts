// Concurrent requests: all succeed or get 429, and acknowledged rows are stored.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eq, inArray } from 'drizzle-orm';
import OpenAI from 'openai';
import { generations, preferences } from '../../shared/database/schema.ts';
import type { Json } from '../../testing/edge-server.ts';
import { type Api, MAX_CONCURRENT } from './api.ts';

const CONCURRENT_REQUESTS = 50;

export function testConcurrency(api: Api): void {
  const { db } = api.server.connection;
  const runConcurrently = <T>(send: (at: number) => Promise<T>) =>
    Promise.all(Array.from({ length: CONCURRENT_REQUESTS }, (_, at) => send(at)));

  test('fifty concurrent preferences are all stored', async () => {
    const rater = `concurrent, ${api.runtime}`;
    const responses = await runConcurrently((at) =>
      api.request('/v1/preferences', { json: { prompt: `Concurrent ${at}`, chosen: 'a', rejected: 'b', rater } }),
    );
    assert.deepEqual(new Set(responses.map(({ status }) => status)), new Set([200]));
    assert.equal(new Set(responses.map(({ body }) => body.id)).size, CONCURRENT_REQUESTS);
    assert.equal(await db.$count(preferences, eq(preferences.rater, `user:${rater}`)), CONCURRENT_REQUESTS);
  });

  test('fifty concurrent generations are all stored, each with the tokens of its seed', async () => {
    const complete = (seed: number) =>
      api.request('/v1/completions', { json: { prompt: 'Once', max_tokens: 6, seed: seed % 5 } });
    const responses = await runConcurrently(complete);
    assert.deepEqual(new Set(responses.map(({ status }) => status)), new Set([200]));
    const ids = responses.map(({ body }) => body.choices[0].generation_id);
    assert.equal(await db.$count(generations, inArray(generations.id, ids)), CONCURRENT_REQUESTS);
    const texts = responses.map(({ body }) => body.choices[0].text);
    for (const [at, text] of texts.entries()) assert.equal(text, texts[at % 5]);
    api.record('texts of concurrent requests', texts.slice(0, 5));
  });

  test('requests beyond the queue limit get 429, and OpenAI’s client succeeds with retries', async () => {
    const prompt = Array.from({ length: MAX_CONCURRENT / 16 }, () => 'Once');
    const params = { model: 'attune', prompt, n: 16, max_tokens: 20, logit_bias: { 1: -100, 2: -100 } };
    const responses = await Promise.allSettled([1, 2].map(() => api.client.completions.create(params)));
    const rejected = responses.filter(({ status }) => status === 'rejected').map(({ reason }: Json) => reason);
    assert.equal(rejected.length, 1);
    assert.ok(rejected[0] instanceof OpenAI.RateLimitError);
    assert.equal(rejected[0].code, 'queue_full');
    assert.ok(rejected[0].headers.get('retry-after'));
    const retrying = api.connect({ maxRetries: 5 });
    const all = await Promise.all([1, 2].map(() => retrying.completions.create(params)));
    for (const { choices } of all) assert.equal(choices.length, MAX_CONCURRENT);
  });
}
