import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Hono } from 'hono';
import { toErrorResponse } from '../http/errors.ts';
import { requireApiKey } from './auth.ts';
import { limitRate } from './rate-limit.ts';

function openApp(keys: string[], full: Set<string>) {
  const asked: string[] = [];
  const app = new Hono();
  app.onError((error, context) => toErrorResponse(context, error));
  if (keys.length > 0) app.use(requireApiKey(keys));
  app.use(
    limitRate(async (caller) => {
      asked.push(caller);
      return !full.has(caller);
    }),
  );
  app.post('/', (context) => context.text('in'));
  const ask = (headers: Record<string, string>) => app.request('/', { method: 'POST', headers });
  return { asked, ask };
}

test('a caller is the tenant of its key, whatever its address', async () => {
  const { asked, ask } = openApp(['sk-one-one', 'sk-two-two'], new Set(['key 1']));
  const headers = { 'cf-connecting-ip': '192.0.2.1' };
  assert.equal((await ask({ ...headers, authorization: 'Bearer sk-one-one' })).status, 200);
  const refused = await ask({ ...headers, authorization: 'Bearer sk-two-two' });
  assert.equal(refused.status, 429);
  assert.deepEqual(await refused.json(), {
    error: {
      message: 'too many requests from this caller; send fewer, or wait 10 seconds',
      type: 'rate_limit_error',
      param: null,
      code: 'rate_limit_exceeded',
    },
  });
  assert.equal(refused.headers.get('retry-after'), '10');
  assert.equal(refused.headers.get('retry-after-ms'), '10000');
  assert.equal((await ask({ ...headers, authorization: 'Bearer sk-wrong-one' })).status, 401);
  assert.deepEqual(asked, ['key 0', 'key 1']);
});

test('without keys a caller is its address as Cloudflare says it', async () => {
  const { asked, ask } = openApp([], new Set());
  await ask({ 'cf-connecting-ip': '192.0.2.1', 'x-forwarded-for': '198.51.100.1' });
  await ask({});
  assert.deepEqual(asked, ['192.0.2.1', 'unknown']);
});
