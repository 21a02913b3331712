import assert from 'node:assert/strict';
import { test } from 'node:test';
import packageJson from '../package.json' with { type: 'json' };
import { readSettings } from '../shared/settings.ts';
import { createApp } from './app.ts';
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

test('every operation is in one of the four groups, and only those under /v1 need an API key', () => {
  assert.ok(operations.length > 20);
  for (const { route, tags, security } of operations) {
    assert.equal(tags.length, 1, route);
    assert.ok(['Generate', 'Collect', 'Learn', 'Administer', 'Operate'].includes(tags[0]!), route);
    assert.deepEqual(security, route.includes(' /v1/') ? undefined : [], route);
  }
});

test('the documentation pages are served, and are not in the OpenAPI document', async () => {
  assert.deepEqual(
    operations.filter(({ route }) => route.includes('docs')),
    [],
  );
  assert.match(await (await app.request('/docs')).text(), /swagger-ui/);
  assert.equal((await app.request('/')).headers.get('location'), '/docs');
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
