// A full queue rejects requests before any computation.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startEdgeServer } from '../testing/edge-server.ts';

const server = await startEdgeServer({ MAX_ROWS: '1', MAX_QUEUE: '1' });
const ENDLESS = { logit_bias: { 1: -100, 2: -100 } };

for (const stream of [false, true]) {
  test(`with a full queue a ${stream ? 'stream' : 'request'} gets a retryable 429, and accepted ones are completed`, async () => {
    const json = { prompt: 'Once', max_tokens: 60, ...ENDLESS, stream };
    const responses = await Promise.all(Array.from({ length: 8 }, () => server.request('/v1/completions', { json })));
    const rejected = responses.filter((response) => response.status === 429);
    assert.equal(responses.filter((response) => response.status === 200).length + rejected.length, 8);
    assert.ok(rejected.length > 0 && rejected.length < 8);
    for (const response of rejected) {
      assert.equal(response.body.error.code, 'queue_full');
      assert.equal(response.headers.get('x-should-retry'), 'true');
      assert.ok(response.headers.get('retry-after'));
    }
  });
}

test('a request with several prompts is rejected as a whole when one does not fit, and its batch slots are freed', async () => {
  const json = { prompt: ['Once', 'Once', 'Once'], max_tokens: 120, store: false, ...ENDLESS };
  assert.equal((await server.request('/v1/completions', { json })).status, 429);
  const after = await server.request('/v1/completions', { json: { prompt: ['Once', 'Once'], max_tokens: 2 } });
  assert.equal(after.status, 200);
});
