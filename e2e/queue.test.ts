// A full queue, which is answered before anything is computed.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setStage } from './stage.ts';

const stage = await setStage({ MAX_ROWS: '1', MAX_QUEUE: '1' });

for (const stream of [false, true]) {
  test(`with a full queue a ${stream ? 'stream' : 'request'} gets 429 and may try again, and those taken are answered`, async () => {
    const json = { prompt: 'Once', max_tokens: 60, logit_bias: { 1: -100, 2: -100 }, stream };
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
