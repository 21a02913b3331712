// Errors: OpenAI's format, the invalid parameter, and the same message on every runtime.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import type { Json } from '../../testing/edge-server.ts';
import type { Api, ApiResponse } from './api.ts';
import { INVALID_REQUESTS } from './invalid-requests.ts';

/** Asserts that a response is an error in this API's format. */
export function assertError({ status, headers, body }: ApiResponse, expected: number, name = ''): void {
  assert.equal(status, expected, `${name} ${JSON.stringify(body)}`);
  assert.deepEqual(Object.keys(body.error).sort(), ['code', 'message', 'param', 'type'], name);
  assert.match(headers.get('content-type') ?? '', /^application\/json/);
  assert.match(headers.get('x-should-retry') ?? '', /^(true|false)$/);
  assert.match(headers.get('x-request-id') ?? '', /^req_[0-9a-f]{32}$/);
}

export function testErrors(api: Api): void {
  const { request, client } = api;

  for (const { name, path, json, status = 400, param, message } of INVALID_REQUESTS) {
    test(`rejects ${name}, naming ${param}`, async () => {
      const response = await request(path, { json });
      assertError(response, status);
      assert.equal(response.body.error.param, param);
      assert.match(response.body.error.message, message);
      assert.equal(response.headers.get('x-should-retry'), 'false');
      api.record(`error for ${name}`, response.body);
    });
  }

  test('rejects max_tokens over the context length with the largest valid value, which is accepted', async () => {
    const routes: [string, object][] = [
      ['/v1/chat/completions', { messages: [{ role: 'user', content: 'Once upon a time' }] }],
      ['/v1/completions', { prompt: 'Once upon a time' }],
      ['/v1/comparisons', { prompt: 'Once upon a time' }],
    ];
    for (const [path, json] of routes) {
      const rejected = await request(path, { json: { ...json, max_tokens: 1000 } });
      assertError(rejected, 400);
      assert.equal(rejected.body.error.code, 'context_length_exceeded');
      const maxTokens = Number(/give (\d+) or less/.exec(rejected.body.error.message)?.[1]);
      assertError(await request(path, { json: { ...json, max_tokens: maxTokens + 1 } }), 400);
      assert.equal((await request(path, { json: { ...json, max_tokens: maxTokens } })).status, 200);
      // The default is limited to the remaining context.
      assert.equal((await request(path, { json })).status, 200);
    }
  });

  test('an unknown id or route is a 404 that names it', async () => {
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
      '/docs/__proto__',
      '/docs/constructor',
      '/docs/toString',
    ];
    for (const path of paths) {
      const response = await request(path);
      assertError(response, 404, path);
      assert.equal(response.body.error.type, 'not_found_error');
      api.record(`404 of ${path}`, response.body);
    }
  });

  test('an unsupported method is a 404 that names method and route', async () => {
    const cases = [
      ['PUT', '/v1/completions'],
      ['DELETE', '/v1/rounds/round_none'],
      ['PATCH', '/v1/policies'],
      ['POST', '/health'],
      ['GET', '/v1/policies/rollback/now'],
      ['OPTIONS', '/v1/rounds'],
    ];
    for (const [method, path] of cases) {
      const response = await request(path!, { method: method! });
      assertError(response, 404, `${method} ${path}`);
      assert.ok(response.body.error.message.includes(`${method} ${path}`), response.body.error.message);
      api.record(`${method} ${path}`, response.body);
    }
    const head = await request('/v1/models', { method: 'HEAD' });
    assert.deepEqual([head.status, head.text], [200, '']);
  });

  test('OpenAI’s client throws the matching error class without retries', async () => {
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
        .connect({ apiKey: 'an-unknown-key' })
        .models.list()
        .then(() => {}),
      OpenAI.AuthenticationError,
    );
    await assert.rejects(client.models.retrieve('pol_none'), OpenAI.NotFoundError);
    assert.equal(api.calls.length - before, 4);
  });

  test('responses have the client’s request id, or a new one', async () => {
    const own = await request('/v1/models', { headers: { 'x-request-id': 'my-own-id' } });
    assert.equal(own.headers.get('x-request-id'), 'my-own-id');
    for (const path of ['/v1/models', '/v1/nothing', '/status'])
      assert.match((await request(path)).headers.get('x-request-id') ?? '', /^req_[0-9a-f]{32}$/);
    const odd = await request('/v1/models', { headers: { 'x-request-id': 'no <id> at all' } });
    assert.match(odd.headers.get('x-request-id') ?? '', /^req_/);
  });
}
