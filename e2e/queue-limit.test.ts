// A full queue rejects requests before any computation.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeLongRequests, startEdgeServer, withEdge } from '../testing/edge-server.ts';

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

test('with several keys one cannot fill the queue: it gets 429 at its share, and another key is served', async () => {
  const { brief, endless } = await makeLongRequests(server);
  const [first, second] = ['first-secret-key', 'second-secret-key'].map((key) => ({ authorization: `Bearer ${key}` }));
  await withEdge(
    server,
    { API_KEY: 'first-secret-key,second-secret-key', MAX_ROWS: '8', MAX_QUEUE: '8' },
    async (send) => {
      // A single request may take all places, several prompts included.
      const whole = { ...brief, prompt: ['Once', 'Once'], n: 8, max_tokens: 2 };
      assert.equal((await send('/v1/completions', whole, first)).status, 200);
      const statuses: number[] = [];
      const greedy = Array.from({ length: 16 }, async () => {
        const { status, body } = await send('/v1/completions', { ...endless, max_tokens: 500 }, first);
        statuses.push(status);
        if (status === 429) assert.match(body.error.message, /share of the queue/);
      });
      const [response] = await Promise.all([send('/v1/completions', brief, second), ...greedy]);
      assert.equal(response.status, 200);
      assert.deepEqual(statuses.sort(), [...new Array(10).fill(200), ...new Array(6).fill(429)]);
    },
  );
});
