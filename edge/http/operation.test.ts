import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OpenAPIHono, z } from '@hono/zod-openapi';
import type { Ports } from '../ports.ts';
import { toErrorResponse } from './errors.ts';
import { addOperation, defineOperation } from './operation.ts';

const echo = defineOperation({
  scopes: null,
  summary: 'Returns what it received',
  body: z.strictObject({ text: z.string(), options: z.strictObject({ n: z.number().max(3).optional() }).optional() }),
  query: z.strictObject({ limit: z.coerce.number().default(20) }),
  response: z.object({}),
  handler: async ({ body, query, param }) => ({ body, query, id: param('id') }),
});

const app = new OpenAPIHono();
app.onError((error, context) => toErrorResponse(context, error));
addOperation(app, { method: 'POST', path: '/echo/{id}', tag: 'Test', operation: echo }, [], {} as Ports);

async function post(body: string, { path = '/echo/x', type = 'application/json' } = {}) {
  const response = await app.request(path, { method: 'POST', body, headers: { 'content-type': type } });
  return { status: response.status, ...((await response.json()) as Record<string, unknown>) };
}

test('a handler receives the parsed body, query and path parameter', async () => {
  assert.deepEqual(await post('{"text":"a"}', { path: '/echo/a%00b?limit=5' }), {
    status: 200,
    body: { text: 'a' },
    query: { limit: 5 },
    id: 'ab',
  });
});

test('accepts JSON under any content-type', async () => {
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/json; charset=utf-8'])
    assert.equal((await post('{"text":"a"}', { type })).status, 200, type);
});

test('an invalid request is a 400 that names the field', async () => {
  const cases: [string, string | null, string, RegExp][] = [
    ['{"text":', null, 'invalid_json', /^the body is not valid JSON: /],
    ['{"text":"a","txet":1}', 'txet', 'unknown_parameter', /^unknown field "txet"$/],
    ['{"text":"a","options":{"m":1}}', 'options.m', 'unknown_parameter', /^unknown field "options\.m"$/],
    ['{"txet":"a"}', 'txet', 'unknown_parameter', /^unknown field "txet"$/],
    ['{"text":"a","options":{"n":4}}', 'options.n', 'invalid_value', /^options\.n: give a number of 3 or less$/],
    ['{"text":"a","options":3}', 'options', 'invalid_value', /^options: give an object$/],
    ['{}', 'text', 'invalid_value', /^text: is missing; give a string$/],
    ['{"text":["a"]}', 'text', 'invalid_value', /^text: give a string$/],
    ['[]', null, 'invalid_value', /^give an object$/],
    ['{"text":"a\\u0000"}', 'text', 'unstorable', /NUL/],
  ];
  for (const [body, param, code, message] of cases) {
    const { status, error } = (await post(body)) as unknown as { status: number; error: Record<string, string> };
    assert.deepEqual([status, error.param, error.code], [400, param, code], body);
    assert.match(error.message!, message);
  }
});
