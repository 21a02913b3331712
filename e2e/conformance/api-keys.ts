// API keys: who is let in, and to what.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Json } from '../../testing/edge-server.ts';
import { withEdge } from '../../testing/extra-edge.ts';
import { type Api, KEYS } from './api.ts';
import { assertError } from './errors.ts';

export function conformKeys(api: Api): void {
  const json = { prompt: 'Once', max_tokens: 2 };

  test('each of several API keys is let in, and nothing else', async () => {
    const ask = (authorization: string) => api.request('/v1/completions', { json, headers: { authorization } });
    for (const key of KEYS) assert.equal((await ask(`Bearer ${key}`)).status, 200);
    for (const wrong of [
      '',
      `Bearer ${KEYS.join()}`,
      'Bearer first-secret',
      KEYS[1],
      `Basic ${btoa(`x:${KEYS[0]}`)}`,
    ]) {
      const answer = await ask(wrong);
      assertError(answer, 401, wrong);
      assert.equal(answer.body.error.code, 'invalid_api_key');
      assert.equal(answer.headers.get('x-should-retry'), 'false');
      api.keep('a wrong key', answer.body);
    }
  });

  test('without a key nobody learns what there is under /v1, and everybody what is open', async () => {
    const statusOf = async (path: string) => (await fetch(api.url + path, { redirect: 'manual' })).status;
    for (const path of ['/v1/models', '/v1/preferences/export', '/v1/nothing']) assert.equal(await statusOf(path), 401);
    for (const path of ['/status', '/health', '/metrics', '/openapi.json', '/docs'])
      assert.equal(await statusOf(path), 200, path);
  });

  test('the document says that a key is needed, and where it is not', async () => {
    const { body } = await api.request('/openapi.json');
    assert.equal(body.components.securitySchemes.key.scheme, 'bearer');
    assert.deepEqual(body.security, [{ key: [] }]);
    assert.deepEqual(body.paths['/health'].get.security, []);
  });

  // What a Worker is set to comes with its deployment; another one for this would show nothing else.
  if (api.runtime !== 'node') return;
  test('where no key is set nobody needs one, and the document says so', async () => {
    await withEdge(api.stage, {}, async (send, url) => {
      assert.equal((await send('/v1/completions', json)).status, 200);
      const document = (await (await fetch(`${url}/openapi.json`)).json()) as Json;
      assert.deepEqual(document.security, []);
    });
  });
}
