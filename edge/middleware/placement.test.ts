import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OpenAPIHono } from '@hono/zod-openapi';
import { AttuneError } from '../../shared/error.ts';
import { toErrorResponse } from '../http/errors.ts';
import { streamEvents } from '../http/sse.ts';
import type { Placement } from '../ports.ts';
import { placeRequest } from './placement.ts';

function openApp(placed: Placement & { response?: Response }) {
  const app = new OpenAPIHono();
  app.onError((error, context) => toErrorResponse(context, error));
  const place = placeRequest({ placeRequest: async () => placed }, 'body');
  app.post('/v1/completions', place, () => streamEvents(new AbortController(), async (send) => send('[DONE]')));
  app.post('/v1/comparisons', place, () => {
    throw new AttuneError('no', { status: 409 });
  });
  app.post('/v1/policies/rollback', place, (context) => context.json({ id: 'pol_a' }));
  app.post('/v1/chat/completions', place, (context) => context.notFound());
  app.post('/v1/preferences', (context) => context.json({}));
  return (path: string) => app.request(path, { method: 'POST' });
}

const HERE: Placement = { place: 'worker', reason: '1.2 MiB of weights fit' };

test('a JSON response, a stream and an error report where they were computed, and why', async () => {
  const request = openApp(HERE);
  for (const [path, status] of [
    ['/v1/policies/rollback', 200],
    ['/v1/completions', 200],
    ['/v1/comparisons', 409],
    ['/v1/chat/completions', 404],
  ] as const) {
    const response = await request(path);
    assert.equal(response.status, status, path);
    assert.equal(response.headers.get('x-attune-compute'), 'worker', path);
    assert.equal(response.headers.get('x-attune-compute-reason'), HERE.reason, path);
  }
  assert.equal((await request('/v1/preferences')).headers.has('x-attune-compute'), false);
});

test('a response from another Attune keeps its status, headers and body, except for x-attune-compute', async () => {
  const response = new Response('from there', {
    status: 429,
    headers: { 'x-attune-compute': 'node', 'retry-after': '3' },
  });
  const got = await openApp({ place: 'url', reason: 'too large', response })('/v1/completions');
  assert.equal(got.status, 429);
  assert.equal(await got.text(), 'from there');
  assert.equal(got.headers.get('retry-after'), '3');
  assert.equal(got.headers.get('x-attune-compute'), 'url');
});

test('characters of the reason that a header cannot contain are replaced', async () => {
  const got = await openApp({ place: 'worker', reason: 'it’s 5 µs\r\nset-cookie: x' })('/v1/completions');
  assert.equal(got.headers.get('x-attune-compute-reason'), 'it?s 5 ?s?set-cookie: x');
});
