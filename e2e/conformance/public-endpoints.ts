// Public endpoints: the OpenAPI document, its page, and Prometheus metrics.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Api } from './api.ts';

export function testPublicEndpoints(api: Api): void {
  const { request } = api;

  test('the OpenAPI document is public and the same on every runtime', async () => {
    const { status, body } = await request('/openapi.json');
    assert.equal(status, 200);
    assert.equal(body.openapi, '3.1.0');
    const chat = body.paths['/v1/chat/completions'].post;
    assert.ok(chat.requestBody.content['application/json'].schema.properties.messages);
    assert.ok(body.paths['/v1/comparisons/{id}'].get);
    api.record('the document', body);
  });

  test('the docs page and its files are served, and / is a page', async () => {
    const page = await request('/docs');
    assert.match(page.headers.get('content-type') ?? '', /^text\/html/);
    assert.match(page.text, /swagger-ui/);
    api.record('the page', page.text);
    for (const [file, type] of [
      ['swagger-ui-bundle.js', 'text/javascript'],
      ['swagger-ui.css', 'text/css'],
    ]) {
      const { status, headers, text } = await request(`/docs/${file}`);
      assert.equal(status, 200);
      assert.equal(headers.get('content-type'), type);
      assert.equal(headers.get('cache-control'), 'max-age=86400');
      assert.ok(text.length > 10_000);
      api.record(file!, text.length);
    }
    const root = await request('/');
    assert.deepEqual([root.status, root.headers.get('content-type')], [200, 'text/html; charset=UTF-8']);
  });

  test('/metrics counts responses by route pattern, without ids in labels', async () => {
    await request('/v1/policies/pol_curious');
    await request('/v1/nowhere/at/all');
    const expected = [
      'method="GET",route="/v1/policies/:id",status="404"',
      'method="GET",route="none",status="404"',
      'method="POST",route="/v1/chat/completions",status="200"',
    ];
    let text = '';
    // A Worker's metrics pass through a queue that batches them.
    for (let attempt = 0; attempt < 60; attempt++) {
      const response = await request('/metrics');
      assert.match(response.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/);
      text = response.text;
      if (expected.every((labels) => text.includes(`attune_http_request_duration_seconds_count{${labels}}`))) break;
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
    for (const labels of expected) assert.ok(text.includes(`_count{${labels}}`), `${labels} is not in\n${text}`);
    assert.doesNotMatch(text, /curious|nowhere/);
  });

  test('/metrics has what is read from Postgres', async () => {
    const { text } = await request('/metrics');
    const names = [...text.matchAll(/^# TYPE (attune_(?:postgres|.*round|new_pairs|trainers|webhooks)\S*) gauge$/gm)];
    api.record(
      'metrics from Postgres',
      names.map(([, name]) => name),
    );
    assert.match(text, /^attune_postgres_up 1$/m);
    assert.match(text, /^attune_new_pairs \d+$/m);
    assert.match(text, /^attune_postgres_connections\{application="attune edge"\} \d+$/m);
  });
}
