import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Hono } from 'hono';
import { toErrorResponse } from '../http/errors.ts';
import { limitBody } from './body-limit.ts';

function post(body: BodyInit, headers: Record<string, string> = {}) {
  const app = new Hono();
  app.onError((error, context) => toErrorResponse(context, error));
  app.post('/', limitBody(100, 0.1), async (context) => context.text(await context.req.text()));
  // fetch requires duplex for a stream as the body; its types lack the field.
  return app.request('/', { method: 'POST', body, headers, duplex: 'half' } as RequestInit);
}

function streamOf(chunks: string[], { ends }: { ends: boolean }): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(new TextEncoder().encode(chunk));
      if (ends) controller.close();
    },
  });
}

test('a handler reads the whole body, with and without a content-length', async () => {
  assert.equal(await (await post('hello', { 'content-length': '5' })).text(), 'hello');
  assert.equal(await (await post(streamOf(['hel', 'lo'], { ends: true }))).text(), 'hello');
});

test('rejects a body over the limit, with and without a content-length', async () => {
  assert.equal((await post('x'.repeat(101), { 'content-length': '101' })).status, 413);
  const chunked = await post(streamOf(['x'.repeat(60), 'x'.repeat(60)], { ends: true }));
  assert.equal(chunked.status, 413);
});

test('a body that does not arrive in time is a 408, with and without a content-length', async () => {
  for (const headers of [{}, { 'content-length': '50' }] as Record<string, string>[]) {
    const response = await post(streamOf(['he'], { ends: false }), headers);
    assert.equal(response.status, 408);
    assert.equal(response.headers.get('x-should-retry'), 'true');
  }
});

test('a body that ends early is a 400', async () => {
  const broken = new ReadableStream({ pull: (controller) => controller.error(new Error('aborted')) });
  const response = await post(broken);
  assert.equal(response.status, 400);
  assert.equal(((await response.json()) as { error: { code: string } }).error.code, 'incomplete_body');
});
