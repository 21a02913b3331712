// A full queue, which is answered before anything is computed.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setStage } from '../testing/edge-server.ts';

const stage = await setStage({ MAX_ROWS: '1', MAX_QUEUE: '1' });
const ENDLESS = { logit_bias: { 1: -100, 2: -100 } };

for (const stream of [false, true]) {
  test(`with a full queue a ${stream ? 'stream' : 'request'} gets 429 and may try again, and those taken are answered`, async () => {
    const json = { prompt: 'Once', max_tokens: 60, ...ENDLESS, stream };
    const answers = await Promise.all(Array.from({ length: 8 }, () => stage.request('/v1/completions', { json })));
    const refused = answers.filter((answer) => answer.status === 429);
    assert.equal(answers.filter((answer) => answer.status === 200).length + refused.length, 8);
    assert.ok(refused.length > 0 && refused.length < 8);
    for (const answer of refused) {
      assert.equal(answer.body.error.code, 'queue_full');
      assert.equal(answer.headers.get('x-should-retry'), 'true');
      assert.ok(answer.headers.get('retry-after'));
    }
  });
}

test('one of several prompts that finds no room takes the others with it, and their rows are free again', async () => {
  const json = { prompt: ['Once', 'Once', 'Once'], max_tokens: 120, store: false, ...ENDLESS };
  assert.equal((await stage.request('/v1/completions', { json })).status, 429);
  const after = await stage.request('/v1/completions', { json: { prompt: ['Once', 'Once'], max_tokens: 2 } });
  assert.equal(after.status, 200);
});
