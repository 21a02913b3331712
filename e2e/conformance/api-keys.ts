// API keys: authenticated and public routes.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Json } from '../../testing/edge-server.ts';
import { withEdge } from '../../testing/edge-server.ts';
import { type Api, KEYS } from './api.ts';
import { assertError } from './errors.ts';

export function testApiKeys(api: Api): void {
  const json = { prompt: 'Once', max_tokens: 2 };

  test('every configured API key is accepted, and nothing else', async () => {
    const complete = (authorization: string) => api.request('/v1/completions', { json, headers: { authorization } });
    for (const key of KEYS) assert.equal((await complete(`Bearer ${key}`)).status, 200);
    for (const wrong of [
      '',
      `Bearer ${KEYS.join()}`,
      'Bearer first-secret',
      KEYS[1],
      `Basic ${btoa(`x:${KEYS[0]}`)}`,
    ]) {
      const response = await complete(wrong);
      assertError(response, 401, wrong);
      assert.equal(response.body.error.code, 'invalid_api_key');
      assert.equal(response.headers.get('x-should-retry'), 'false');
      api.record('a wrong key', response.body);
    }
  });

  test('without a key all of /v1 is 401, and public routes are 200', async () => {
    const getStatus = async (path: string) => (await fetch(api.url + path, { redirect: 'manual' })).status;
    for (const path of ['/v1/models', '/v1/preferences/export', '/v1/nothing'])
      assert.equal(await getStatus(path), 401);
    for (const path of ['/status', '/health', '/metrics', '/openapi.json', '/docs'])
      assert.equal(await getStatus(path), 200, path);
  });

  test('the OpenAPI document declares which operations need a key', async () => {
    const { body } = await api.request('/openapi.json');
    assert.equal(body.components.securitySchemes.key.scheme, 'bearer');
    assert.equal(body.components.securitySchemes.session.name, 'attune_session');
    assert.deepEqual(body.security, [{ key: [] }, { session: [] }]);
    assert.deepEqual(body.paths['/health'].get.security, []);
  });

  // A Worker's settings come with its deployment; a second one would not test anything new.
  if (api.runtime !== 'node') return;
  test('without API_KEY no key is needed, and the OpenAPI document declares none', async () => {
    await withEdge(api.server, {}, async (send, url) => {
      assert.equal((await send('/v1/completions', json)).status, 200);
      const document = (await (await fetch(`${url}/openapi.json`)).json()) as Json;
      assert.deepEqual(document.security, []);
    });
  });
}
