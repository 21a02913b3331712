import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Hono } from 'hono';
import { toErrorResponse } from '../http/errors.ts';
import { limitBody } from './body-limit.ts';

function post(body: BodyInit, headers: Record<string, string> = {}) {
  const app = new Hono();
  app.onError((error, context) => toErrorResponse(context, error));
  app.post('/', limitBody(100, 0.1), async (context) => context.text(await context.req.text()));
  // A stream as a body needs duplex, which the types of fetch do not know.
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

test('a handler finds the whole body, whether its length was said or not', async () => {
  assert.equal(await (await post('hello', { 'content-length': '5' })).text(), 'hello');
  assert.equal(await (await post(streamOf(['hel', 'lo'], { ends: true }))).text(), 'hello');
});

test('a body over the limit is refused, whether its length was said or not', async () => {
  assert.equal((await post('x'.repeat(101), { 'content-length': '101' })).status, 413);
  const unsaid = await post(streamOf(['x'.repeat(60), 'x'.repeat(60)], { ends: true }));
  assert.equal(unsaid.status, 413);
});

test('a body that does not come is given up with 408, whether its length was said or not', async () => {
  for (const headers of [{}, { 'content-length': '50' }] as Record<string, string>[]) {
    const answer = await post(streamOf(['he'], { ends: false }), headers);
    assert.equal(answer.status, 408);
    assert.equal(answer.headers.get('x-should-retry'), 'true');
  }
});

test('a body that breaks off is its client’s fault, not ours', async () => {
  const broken = new ReadableStream({ pull: (controller) => controller.error(new Error('aborted')) });
  const answer = await post(broken);
  assert.equal(answer.status, 400);
  assert.equal(((await answer.json()) as { error: { code: string } }).error.code, 'incomplete_body');
});
