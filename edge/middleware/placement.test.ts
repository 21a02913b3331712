import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OpenAPIHono } from '@hono/zod-openapi';
import { AttuneError } from '../../shared/error.ts';
import { toErrorResponse } from '../http/errors.ts';
import { streamEvents } from '../http/sse.ts';
import type { Placement, Ports } from '../ports.ts';
import { placeOperations } from './placement.ts';

function openApp(placed: Placement & { response?: Response }) {
  const app = new OpenAPIHono();
  app.onError((error, context) => toErrorResponse(context, error));
  placeOperations(app, { placeRequest: async () => placed } as unknown as Ports);
  app.post('/v1/completions', () => streamEvents(new AbortController(), async (send) => send('[DONE]')));
  app.post('/v1/comparisons', () => {
    throw new AttuneError('no', { status: 409 });
  });
  app.post('/v1/policies/rollback', (context) => context.json({ id: 'pol_a' }));
  app.post('/v1/preferences', (context) => context.json({}));
  return (path: string) => app.request(path, { method: 'POST' });
}

const HERE: Placement = { place: 'worker', reason: '1.2 MB of weights fit' };

test('an answer, a stream and an error say where they were computed, and why', async () => {
  const ask = openApp(HERE);
  for (const [path, status] of [
    ['/v1/policies/rollback', 200],
    ['/v1/completions', 200],
    ['/v1/comparisons', 409],
    ['/v1/chat/completions', 404],
  ] as const) {
    const response = await ask(path);
    assert.equal(response.status, status, path);
    assert.equal(response.headers.get('x-attune-compute'), 'worker', path);
    assert.equal(response.headers.get('x-attune-compute-reason'), HERE.reason, path);
  }
  assert.equal((await ask('/v1/preferences')).headers.has('x-attune-compute'), false);
});

test('an answer from elsewhere keeps what it has, but for who computed it', async () => {
  const answer = new Response('from there', {
    status: 429,
    headers: { 'x-attune-compute': 'node', 'retry-after': '3' },
  });
  const got = await openApp({ place: 'url', reason: 'too large', response: answer })('/v1/completions');
  assert.equal(got.status, 429);
  assert.equal(await got.text(), 'from there');
  assert.equal(got.headers.get('retry-after'), '3');
  assert.equal(got.headers.get('x-attune-compute'), 'url');
});

test('a reason that a header cannot hold is made to fit', async () => {
  const got = await openApp({ place: 'worker', reason: 'it’s 5 µs\r\nset-cookie: x' })('/v1/completions');
  assert.equal(got.headers.get('x-attune-compute-reason'), 'it?s 5 ?s?set-cookie: x');
});
