// Idempotency keys, in the header or as an id in the body: a repeated request takes effect once.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eq, like } from 'drizzle-orm';
import { selectGenerations } from '../../shared/database/generations.ts';
import { completions, idempotency_keys, preferences } from '../../shared/database/schema.ts';
import type { Api } from './api.ts';

export function testIdempotency(api: Api): void {
  const { request, server } = api;
  const { db } = server.connection;
  const named = (name: string) => `${name}, ${api.runtime}`;
  const raw = { prompt: 'Say hi', chosen: 'hi', rejected: 'no' };
  const vote = (key: string, fields: object) =>
    request('/v1/preferences', { json: { ...raw, ...fields }, headers: { 'idempotency-key': named(key) } });

  test('the same key gives the same response, and other content with it is a non-retryable conflict', async () => {
    const [first, second] = await Promise.all([vote('vote', {}), vote('vote', {})]);
    assert.equal(first.status, 200);
    assert.equal(first.text, second.text);
    assert.equal((await vote('vote', {})).text, first.text);
    const conflict = await vote('vote', { chosen: 'ho' });
    assert.equal(conflict.status, 409);
    assert.equal(conflict.body.error.code, 'idempotency_conflict');
    assert.equal(conflict.headers.get('x-should-retry'), 'false');
    api.record('a conflict of keys', conflict.body);
  });

  test('twenty concurrent requests with one key store one preference', async () => {
    const rater = named('twenty');
    const responses = await Promise.all(Array.from({ length: 20 }, () => vote('twenty', { rater })));
    assert.deepEqual(new Set(responses.map(({ status }) => status)), new Set([200]));
    assert.equal(new Set(responses.map(({ text }) => text)).size, 1);
    assert.equal(await db.$count(preferences, eq(preferences.rater, rater)), 1);
  });

  test('twenty concurrent requests with one key store one comparison', async () => {
    const user = named('twenty');
    const json = { prompt: 'Once', max_tokens: 2, user };
    const headers = { 'idempotency-key': named('twenty') };
    const compare = () => request('/v1/comparisons', { json, headers });
    const responses = await Promise.all(Array.from({ length: 20 }, compare));
    assert.deepEqual(new Set(responses.map(({ status }) => status)), new Set([200]));
    for (const { body } of responses) assert.deepEqual(body, responses[0]!.body);
    assert.equal((await selectGenerations(db).where(eq(completions.user, user))).length, 2);
    assert.deepEqual((await compare()).body, responses[0]!.body);
  });

  test('an id in the body is an idempotency key, and the header takes precedence', async () => {
    const json = { prompt: 'Once', max_tokens: 4, id: named('my comparison') };
    const first = await request('/v1/comparisons', { json });
    assert.deepEqual((await request('/v1/comparisons', { json })).body, first.body);
    const other = await request('/v1/comparisons', { json, headers: { 'idempotency-key': named('another') } });
    assert.notEqual(other.body.id, first.body.id);
    const kept = await db.$count(idempotency_keys, like(idempotency_keys.key, `%${named('my comparison')}`));
    assert.equal(kept, 1);
  });

  test('one key can be used for two operations', async () => {
    const headers = { 'idempotency-key': named('both') };
    const comparison = await request('/v1/comparisons', { json: { prompt: 'Once', max_tokens: 2 }, headers });
    const json = { comparison: comparison.body.id, choice: 'a' };
    const preference = await request('/v1/preferences', { json, headers });
    assert.equal(preference.status, 200);
    assert.equal((await request('/v1/preferences', { json, headers })).text, preference.text);
  });

  test('a rejected request does not use up its key', async () => {
    assert.equal((await vote('fixed', { rejected: 'hi' })).status, 400);
    assert.equal((await vote('fixed', {})).status, 200);
  });

  test('a key has at most 200 characters', async () => {
    const json = { ...raw, rater: named('long') };
    const send = (length: number) =>
      request('/v1/preferences', { json, headers: { 'idempotency-key': api.runtime.padEnd(length, '-') } });
    assert.equal((await send(200)).status, 200);
    const long = await send(201);
    assert.equal(long.status, 400);
    api.record('a key that is too long', long.body);
  });
}
