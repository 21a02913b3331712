import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Hono } from 'hono';
import { readSettings } from '../../shared/settings.ts';
import { toErrorResponse } from '../http/errors.ts';
import { WrongKeys } from '../wrong-keys.ts';
import { authenticate } from './auth.ts';
import { guardAgainstPages } from './browser-guard.ts';

function openApp(env: Record<string, string> = {}, body?: string) {
  const settings = readSettings(env);
  const app = new Hono();
  app.onError((error, context) => toErrorResponse(context, error));
  // Keys of API_KEY are found without a database.
  app.use(
    authenticate({
      db: undefined as never,
      credentials: undefined as never,
      wrongKeys: new WrongKeys(20),
      getAddress: () => '192.0.2.1',
      settings,
    }),
    guardAgainstPages(settings.CORS_ORIGINS),
  );
  app.post('/', (context) => context.text('in'));
  return async (headers: Record<string, string>) => {
    const length = String(body?.length ?? 0);
    const init = { method: 'POST', headers: { 'content-length': length, ...headers }, body: body ?? null };
    return (await app.request('/', init)).status;
  };
}

test('without a key only requests to and from this machine are answered', async () => {
  const post = openApp();
  for (const host of ['localhost:8787', '127.0.0.1:8787', '127.1.2.3', '[::1]:8787', 'app.localhost'])
    assert.equal(await post({ host }), 200, host);
  for (const host of ['evil.example', 'localhost.evil.example', '127.0.0.1.evil.example:8787', '10.0.0.1', '', 'a b'])
    assert.equal(await post({ host }), 403, host);
  const host = 'localhost:8787';
  for (const origin of ['http://localhost:3000', 'http://127.0.0.1', 'https://[::1]:1'])
    assert.equal(await post({ host, origin }), 200, origin);
  for (const origin of ['https://evil.example', 'null', 'http://localhost.evil.example', 'file://', 'nonsense'])
    assert.equal(await post({ host, origin }), 403, origin);
});

test('an origin of CORS_ORIGINS is answered', async () => {
  const post = openApp({ CORS_ORIGINS: 'https://app.example' });
  assert.equal(await post({ host: 'localhost', origin: 'https://app.example' }), 200);
  assert.equal(await post({ host: 'localhost', origin: 'https://app.example.evil' }), 403);
});

test('a request with a key may come from anywhere', async () => {
  const post = openApp({ API_KEY: 'a-secret-key' });
  const authorization = 'Bearer a-secret-key';
  assert.equal(await post({ host: 'api.example', origin: 'https://app.example', authorization }), 200);
});

test('without a key a body must be of a type that browsers ask for before they send it', async () => {
  const post = openApp({}, '{"prompt": "Once"}');
  const host = 'localhost:8787';
  for (const type of [
    'application/json',
    'application/JSON; charset=utf-8',
    'application/jsonl',
    'application/x-ndjson',
  ])
    assert.equal(await post({ host, 'content-type': type }), 200, type);
  for (const type of [
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'text/plain; application/json',
    'application/jsonp',
    '',
  ])
    assert.equal(await post({ host, 'content-type': type }), 415, type);
  // curl without a type sends one of a form; with any key, as OpenAI's clients send one, no page has sent it.
  const authorization = 'Bearer unused';
  assert.equal(await post({ host, 'content-type': 'text/plain', authorization }), 200);
  assert.equal(await openApp()({ host }), 200);
});

test('without a key a page that sends one, as any page may where embed tokens are taken, is no page of this server', async () => {
  const authorization = 'Bearer unused';
  const post = openApp();
  const host = 'localhost:8787';
  assert.equal(await post({ host, authorization, origin: 'http://localhost:3000' }), 403);
  assert.equal(await post({ host, authorization, origin: 'http://localhost:8787' }), 200);
  const allowing = openApp({ CORS_ORIGINS: 'http://localhost:3000' });
  assert.equal(await allowing({ host, authorization, origin: 'http://localhost:3000' }), 200);
});
