import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Hono } from 'hono';
import { sha256 } from '../../shared/digest.ts';
import { readSettings } from '../../shared/settings.ts';
import { getCloudflareAddress, openWorkerRateLimits } from '../cloudflare/rate-limits.ts';
import { toErrorResponse } from '../http/errors.ts';
import { WrongKeys } from '../wrong-keys.ts';
import { authenticate } from './auth.ts';
import { limitRate } from './rate-limit.ts';

const idOf = (key: string) => `key_${sha256(key).slice(0, 12)}`;

function openApp(keys: string[], limited: Set<string>) {
  const callers: string[] = [];
  const app = new Hono();
  app.onError((error, context) => toErrorResponse(context, error));
  // Keys of API_KEY are found without a database.
  const settings = readSettings({ API_KEY: keys.join() });
  const ports = { db: undefined as never, credentials: undefined as never, wrongKeys: new WrongKeys(20) };
  app.use(authenticate({ ...ports, settings, getAddress: getCloudflareAddress }));
  app.use(
    limitRate(
      openWorkerRateLimits({
        async limit({ key }) {
          callers.push(key);
          return { success: !limited.has(key) };
        },
      }),
      getCloudflareAddress,
    ),
  );
  app.post('/', (context) => context.text('in'));
  const post = (headers: Record<string, string>) => app.request('/', { method: 'POST', headers });
  return { callers, post };
}

test('with keys, a caller is the one of its key, from any address', async () => {
  const { callers, post } = openApp(['sk-one-one', 'sk-two-two'], new Set([idOf('sk-two-two')]));
  const headers = { 'cf-connecting-ip': '192.0.2.1' };
  assert.equal((await post({ ...headers, authorization: 'Bearer sk-one-one' })).status, 200);
  const rejected = await post({ ...headers, authorization: 'Bearer sk-two-two' });
  assert.equal(rejected.status, 429);
  assert.deepEqual(await rejected.json(), {
    error: {
      message: 'too many requests from this caller; send fewer, or wait 10 seconds',
      type: 'rate_limit_error',
      param: null,
      code: 'rate_limit_exceeded',
    },
  });
  assert.equal(rejected.headers.get('retry-after'), '10');
  assert.equal(rejected.headers.get('retry-after-ms'), '10000');
  assert.equal((await post({ ...headers, authorization: 'Bearer sk-wrong-one' })).status, 401);
  assert.deepEqual(callers, [idOf('sk-one-one'), idOf('sk-two-two')]);
});

test('without keys, a caller is the address that Cloudflare reports', async () => {
  const { callers, post } = openApp([], new Set());
  await post({ 'cf-connecting-ip': '192.0.2.1', 'x-forwarded-for': '198.51.100.1' });
  await post({});
  assert.deepEqual(callers, ['192.0.2.1', 'unknown']);
});
