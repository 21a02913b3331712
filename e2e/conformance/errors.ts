// What is refused: always in OpenAI's shape, always naming what was wrong, and in the same words on every runtime.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import type { Json } from '../../testing/edge-server.ts';
import type { Answer, Api } from './api.ts';
import { REFUSALS } from './invalid-requests.ts';

/** Fails unless an answer is an error as this API has them. */
export function assertError({ status, headers, body }: Answer, expected: number, name = ''): void {
  assert.equal(status, expected, `${name} ${JSON.stringify(body)}`);
  assert.deepEqual(Object.keys(body.error).sort(), ['code', 'message', 'param', 'type'], name);
  assert.match(headers.get('content-type') ?? '', /^application\/json/);
  assert.match(headers.get('x-should-retry') ?? '', /^(true|false)$/);
  assert.match(headers.get('x-request-id') ?? '', /^req_[0-9a-f]{32}$/);
}

export function conformErrors(api: Api): void {
  const { request, client } = api;

  for (const { name, path, json, status = 400, param, message } of REFUSALS) {
    test(`${name} gets a refusal that names ${param}`, async () => {
      const answer = await request(path, { json });
      assertError(answer, status);
      assert.equal(answer.body.error.param, param);
      assert.match(answer.body.error.message, message);
      assert.equal(answer.headers.get('x-should-retry'), 'false');
      api.keep(`refusal of ${name}`, answer.body);
    });
  }

  test('a length over the context is refused with the largest there is, and that one is taken', async () => {
    const routes: [string, object][] = [
      ['/v1/chat/completions', { messages: [{ role: 'user', content: 'Once upon a time' }] }],
      ['/v1/completions', { prompt: 'Once upon a time' }],
      ['/v1/comparisons', { prompt: 'Once upon a time' }],
    ];
    for (const [path, json] of routes) {
      const refused = await request(path, { json: { ...json, max_tokens: 1000 } });
      assertError(refused, 400);
      assert.equal(refused.body.error.code, 'context_length_exceeded');
      const room = Number(/give (\d+) or less/.exec(refused.body.error.message)?.[1]);
      assertError(await request(path, { json: { ...json, max_tokens: room + 1 } }), 400);
      assert.equal((await request(path, { json: { ...json, max_tokens: room } })).status, 200);
      // Left out, it is what there is room for, even where that is less than the default.
      assert.equal((await request(path, { json })).status, 200);
    }
  });

  test('what is not there is a 404 that says what was looked for', async () => {
    const paths = [
      '/v1/chat/completions/chatcmpl-none',
      '/v1/comparisons/cmp_none',
      '/v1/preferences/pref_none',
      '/v1/rounds/round_none',
      '/v1/rounds/round_none/events',
      '/v1/rounds/round_none/metrics',
      '/v1/policies/pol_none',
      '/v1/models/pol_none',
      '/v1/nothing',
      '/nowhere',
      '/docs/nothing.js',
    ];
    for (const path of paths) {
      const answer = await request(path);
      assertError(answer, 404, path);
      assert.equal(answer.body.error.type, 'not_found_error');
      api.keep(`404 of ${path}`, answer.body);
    }
  });

  test('a method that an operation has not is a 404 that names both', async () => {
    const cases = [
      ['PUT', '/v1/completions'],
      ['DELETE', '/v1/chat/completions/chatcmpl-none'],
      ['PATCH', '/v1/policies'],
      ['POST', '/health'],
      ['GET', '/v1/policies/rollback/now'],
      ['OPTIONS', '/v1/rounds'],
    ];
    for (const [method, path] of cases) {
      const answer = await request(path!, { method: method! });
      assertError(answer, 404, `${method} ${path}`);
      assert.ok(answer.body.error.message.includes(`${method} ${path}`), answer.body.error.message);
      api.keep(`${method} ${path}`, answer.body);
    }
    const head = await request('/v1/models', { method: 'HEAD' });
    assert.deepEqual([head.status, head.text], [200, '']);
  });

  test('OpenAI’s client throws each refusal as the class that it has for it, and tries none again', async () => {
    const messages = [{ role: 'user' as const, content: 'Once' }];
    const create = (fields: Json) => api.connect({ maxRetries: 2 }).chat.completions.create({ messages, ...fields });
    const before = api.calls.length;
    await assert.rejects(create({ model: 'attune', temperature: 9 }), (error) => {
      assert.ok(error instanceof OpenAI.BadRequestError);
      assert.deepEqual([error.status, error.param, error.code], [400, 'temperature', 'invalid_value']);
      assert.match(error.requestID ?? '', /^req_/);
      return true;
    });
    await assert.rejects(create({ model: 'pol_none' }), OpenAI.NotFoundError);
    await assert.rejects(
      api
        .connect({ apiKey: 'a-key-of-nobody' })
        .models.list()
        .then(() => {}),
      OpenAI.AuthenticationError,
    );
    await assert.rejects(client.models.retrieve('pol_none'), OpenAI.NotFoundError);
    assert.equal(api.calls.length - before, 4);
  });

  test('a request’s id is told in its answer: the client’s own, or a new one', async () => {
    const own = await request('/v1/models', { headers: { 'x-request-id': 'my-own-id' } });
    assert.equal(own.headers.get('x-request-id'), 'my-own-id');
    for (const path of ['/v1/models', '/v1/nothing', '/status'])
      assert.match((await request(path)).headers.get('x-request-id') ?? '', /^req_[0-9a-f]{32}$/);
    const odd = await request('/v1/models', { headers: { 'x-request-id': 'no <id> at all' } });
    assert.match(odd.headers.get('x-request-id') ?? '', /^req_/);
  });
}
