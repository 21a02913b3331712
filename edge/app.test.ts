import assert from 'node:assert/strict';
import { test } from 'node:test';
import packageJson from '../package.json' with { type: 'json' };
import { readSettings } from '../shared/settings.ts';
import { createApp } from './app.ts';
import { Tenants } from './engine/tenants.ts';
import type { RequestRecord } from './http/request-record.ts';
import type { Ports } from './ports.ts';
import { WrongKeys } from './wrong-keys.ts';

const observed: RequestRecord[] = [];
const app = createApp({
  settings: readSettings({ API_KEY: 'a-secret-key' }),
  metrics: { observeResponse() {} },
  wrongKeys: new WrongKeys(20),
  getAddress: () => '192.0.2.1',
  observeRequest: (record: RequestRecord) => observed.push(record),
  tenants: new Tenants(),
} as unknown as Ports);

type Documented = { tags: string[]; security?: unknown[]; requestBody?: { content: object } };

const document = (await (await app.request('/openapi.json')).json()) as {
  info: { version: string };
  paths: Record<string, Record<string, Documented>>;
};
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ route: `${method.toUpperCase()} ${path}`, ...operation })),
);

test('the OpenAPI document has the version of package.json', () => {
  assert.equal(document.info.version, packageJson.version);
});

test('every operation is in one of the five groups, and those under /v1 need an API key, except to sign in and out', () => {
  assert.ok(operations.length > 20);
  for (const { route, tags, security } of operations) {
    assert.equal(tags.length, 1, route);
    assert.ok(['Generate', 'Collect', 'Learn', 'Administer', 'Operate'].includes(tags[0]!), route);
    const needsKey = route.includes(' /v1/') && !['POST /v1/session', 'DELETE /v1/session'].includes(route);
    assert.deepEqual(security, needsKey ? undefined : [], route);
  }
});

test('the documentation pages are served, and are not in the OpenAPI document', async () => {
  assert.deepEqual(
    operations.filter(({ route }) => route.includes('docs')),
    [],
  );
  assert.match(await (await app.request('/docs')).text(), /swagger-ui/);
});

test('an import declares its raw body, and a fixed path is matched before a parameter', async () => {
  const content = document.paths['/v1/preferences/import']!.post!.requestBody!.content;
  assert.deepEqual(Object.keys(content), ['application/jsonl']);
  const response = await app.request('/v1/preferences/export?page=1', {
    headers: { authorization: 'Bearer a-secret-key' },
  });
  assert.equal(((await response.json()) as { error: { message: string } }).error.message, 'unknown field "page"');
});

test('a HEAD request of a stream is observed, although nobody reads its body', async () => {
  const headers = { authorization: 'Bearer a-secret-key' };
  await app.request('/v1/preferences/export', { method: 'HEAD', headers });
  assert.deepEqual([observed.at(-1)?.method, observed.at(-1)?.route], ['HEAD', '/v1/preferences/export']);
});

test('every response has security headers, which a page extends', async () => {
  for (const path of ['/status', '/docs', '/sign-in', '/v1/models', '/nowhere', '/openapi.json']) {
    const { headers } = await app.request(path);
    assert.equal(headers.get('x-content-type-options'), 'nosniff', path);
    assert.equal(headers.get('x-frame-options'), 'DENY', path);
    assert.equal(headers.get('cross-origin-resource-policy'), 'same-origin', path);
    assert.equal(headers.get('referrer-policy'), path === '/sign-in' ? 'same-origin' : 'no-referrer', path);
    assert.equal(headers.get('strict-transport-security'), null, path);
    const policy = headers.get('content-security-policy') ?? '';
    assert.match(policy, /^default-src 'none'; .*frame-ancestors 'none'/, path);
    assert.doesNotMatch(policy, /script-src[^;]*unsafe/, path);
  }
  assert.equal(
    (await app.request('/status')).headers.get('content-security-policy'),
    "default-src 'none'; frame-ancestors 'none'",
  );
});

test('nothing under /v1 is kept by a browser or a proxy, whatever the status', async () => {
  for (const path of ['/v1/models', '/v1/nowhere', '/v1/preferences/export?page=1'])
    for (const headers of [[], [['authorization', 'Bearer a-secret-key']]] as [string, string][][])
      assert.equal((await app.request(path, { headers })).headers.get('cache-control'), 'no-store', path);
  assert.equal((await app.request('/docs')).headers.get('cache-control'), null);
});

test('without API_KEY only what probes ask is answered under another name than this machine’s', async () => {
  const open = createApp({
    settings: readSettings({}),
    db: { execute: async () => [{ value: 'off' }] },
    metrics: { observeResponse() {}, render: async () => ({ body: 'up 1', type: 'text/plain' }) },
    observeRequest() {},
    getServingStatus: async () => ({ policy: null, compute: null }),
    openAsset: async () => new Response('file'),
    tenants: new Tenants(),
    getAddress: () => '192.0.2.1',
  } as unknown as Ports);
  const get = async (path: string, host: string) => (await open.request(path, { headers: { host } })).status;
  for (const path of ['/metrics', '/docs', '/docs/swagger-ui.css', '/openapi.json', '/sign-in', '/', '/v1/models']) {
    assert.equal(await get(path, 'evil.example'), 403, path);
    if (path !== '/v1/models') assert.ok((await get(path, 'localhost:8787')) < 400, path);
  }
  assert.deepEqual([await get('/status', 'evil.example'), await get('/health', 'evil.example')], [200, 503]);
});

test('a browser is told to keep to HTTPS where it came by HTTPS', async () => {
  const byProxy = await app.request('/status', { headers: { 'x-forwarded-proto': 'https' } });
  for (const { headers } of [byProxy, await app.request('https://attune.example/status')])
    assert.equal(headers.get('strict-transport-security'), 'max-age=15552000');
});

test('the sign-in page shows nothing of an invitation, and escapes what it is given', async () => {
  const page = await (await app.request('/sign-in?invitation=%22%3E%3Cscript%3Ealert(1)%3C/script%3E')).text();
  assert.doesNotMatch(page, /<script/);
  assert.match(page, /value="&quot;&gt;&lt;script&gt;alert\(1\)/);
});

test('PUBLIC_ENDPOINTS closes the documentation and the metrics to those without a key', async () => {
  const open = (endpoints: string) =>
    createApp({
      settings: readSettings({ API_KEY: 'a-secret-key', PUBLIC_ENDPOINTS: endpoints }),
      metrics: { observeResponse() {}, render: async () => ({ body: 'up 1', type: 'text/plain' }) },
      observeRequest() {},
      tenants: new Tenants(),
      wrongKeys: new WrongKeys(20),
      getAddress: () => '192.0.2.1',
    } as unknown as Ports);
  const headers = { authorization: 'Bearer a-secret-key' };
  for (const [endpoints, docs, metrics] of [
    ['none', 401, 401],
    ['docs', 200, 401],
    ['metrics', 401, 200],
    ['metrics, docs', 200, 200],
  ] as const) {
    const closable = open(endpoints);
    for (const [path, status] of [
      ['/docs', docs],
      ['/openapi.json', docs],
      ['/metrics', metrics],
    ] as const) {
      assert.equal((await closable.request(path)).status, status, `${endpoints} ${path}`);
      assert.equal((await closable.request(path, { headers })).status, 200, `${endpoints} ${path}`);
    }
    if (docs === 401) assert.equal((await closable.request('/docs/swagger-ui.css')).status, 401);
  }
  assert.throws(() => readSettings({ PUBLIC_ENDPOINTS: 'all' }), /PUBLIC_ENDPOINTS: give docs, metrics or both/);
});

test('the sign-in page speaks the first language of the browser that it has', async () => {
  for (const [accepted, title] of [
    [undefined, 'Sign in'],
    ['de-AT,de;q=0.9,en;q=0.8', 'Anmelden'],
    ['fr,en;q=0.9,de;q=0.8', 'Sign in'],
    ['nl', 'Sign in'],
  ] as const) {
    const page = await app.request('/sign-in?invitation=inv-at-x', {
      headers: accepted === undefined ? {} : { 'accept-language': accepted },
    });
    assert.match(await page.text(), new RegExp(`<title>${title} – Attune</title>`), accepted);
  }
});
