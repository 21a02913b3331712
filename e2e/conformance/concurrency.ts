// Many at once: each is answered, and what was acknowledged is there.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eq, inArray } from 'drizzle-orm';
import OpenAI from 'openai';
import { generations, preferences } from '../../shared/database/schema.ts';
import type { Json } from '../../testing/edge-server.ts';
import { type Api, QUEUE } from './api.ts';

const CROWD = 50;

export function conformCrowd(api: Api): void {
  const { db } = api.stage.connection;
  const atOnce = <T>(ask: (at: number) => Promise<T>) => Promise.all(Array.from({ length: CROWD }, (_, at) => ask(at)));

  test('fifty preferences at once are all stored', async () => {
    const rater = `crowd, ${api.runtime}`;
    const answers = await atOnce((at) =>
      api.request('/v1/preferences', { json: { prompt: `Crowd ${at}`, chosen: 'a', rejected: 'b', rater } }),
    );
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
    assert.equal(new Set(answers.map(({ body }) => body.id)).size, CROWD);
    assert.equal(await db.$count(preferences, eq(preferences.rater, rater)), CROWD);
  });

  test('fifty generations at once are all stored, each with the tokens of its own seed', async () => {
    const ask = (seed: number) =>
      api.request('/v1/completions', { json: { prompt: 'Once', max_tokens: 6, seed: seed % 5 } });
    const answers = await atOnce(ask);
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
    const ids = answers.map(({ body }) => body.choices[0].generation_id);
    assert.equal(await db.$count(generations, inArray(generations.id, ids)), CROWD);
    const texts = answers.map(({ body }) => body.choices[0].text);
    for (const [at, text] of texts.entries()) assert.equal(text, texts[at % 5]);
    api.keep('the crowd’s texts', texts.slice(0, 5));
  });

  test('more than runs and waits gets 429, and OpenAI’s client that tries again is answered', async () => {
    const prompt = Array.from({ length: QUEUE / 16 }, () => 'Once');
    const ask = { model: 'attune', prompt, n: 16, max_tokens: 20, logit_bias: { 1: -100, 2: -100 } };
    const answers = await Promise.allSettled([1, 2].map(() => api.client.completions.create(ask)));
    const refused = answers.filter(({ status }) => status === 'rejected').map(({ reason }: Json) => reason);
    assert.equal(refused.length, 1);
    assert.ok(refused[0] instanceof OpenAI.RateLimitError);
    assert.equal(refused[0].code, 'queue_full');
    assert.ok(refused[0].headers.get('retry-after'));
    const insisting = api.connect({ maxRetries: 5 });
    const all = await Promise.all([1, 2].map(() => insisting.completions.create(ask)));
    for (const { choices } of all) assert.equal(choices.length, QUEUE);
  });
}
