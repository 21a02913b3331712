// Scores of given responses, and best-of-n sampling.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import type { Json } from '../../testing/edge-server.ts';
import type { Api } from './api.ts';

export function testScores(api: Api): void {
  let model: string;
  before(async () => {
    model = await api.importTiny(21, { reference: api.server.policyId });
  });
  const post = async (path: string, json: object): Promise<Json> => {
    const { status, body, headers } = await api.request(path, { json });
    assert.equal(status, 200, JSON.stringify(body));
    assert.equal(headers.get('x-attune-compute'), api.runtime);
    return body;
  };
  const sample = { prompt: 'Once upon a time', max_tokens: 12, seed: 9 };

  test('responses are scored under a policy and its reference', async () => {
    const json = { model, messages: [{ role: 'user', content: 'Once upon' }], responses: [' a time', ' the day.'] };
    const { data, reference, usage } = await post('/v1/score', json);
    assert.equal(reference, api.server.policyId);
    for (const { logp, ref_logp, log_ratio } of data) assert.equal(log_ratio, logp - ref_logp);
    const alone = await post('/v1/score', { ...json, model: api.server.policyId, responses: [' a time'] });
    assert.equal(alone.data[0].logp, data[0].ref_logp);
    assert.equal(alone.reference, null);
    const brief = await post('/v1/score', { ...json, reference: null, tokens: false });
    assert.deepEqual([brief.reference, brief.data[0].tokens], [null, undefined]);
    assert.deepEqual(
      brief.data.map(({ logp }: Json) => logp),
      data.map(({ logp }: Json) => logp),
    );
    assert.equal((await post('/v1/score', { ...json, reference: 'attune' })).reference, api.server.policyId);
    api.record('scores', [data, usage]);
  });

  test('token ids are scored as they are, and a text without its end', async () => {
    const tokens = await post('/v1/score', { model, prompt: [1, 5, 6], response: [7, 8] });
    const cut = await post('/v1/score', { model, prompt: 'Once', response: ' upon', eos: false });
    api.record('scores of tokens', [tokens.data, cut.data]);
  });

  test('the best candidates are those with the largest log-ratios', async () => {
    const { choices, usage } = await post('/v1/completions', {
      ...sample,
      model,
      n: 2,
      best_of: 6,
      ranker: 'log_ratio',
    });
    const plain = await post('/v1/completions', { ...sample, model, n: 6 });
    assert.ok(choices[0].score >= choices[1].score);
    for (const { text, candidate } of choices) assert.equal(text, plain.choices[candidate].text);
    assert.deepEqual(usage, plain.usage);
    const chat = await post('/v1/chat/completions', {
      ...sample,
      prompt: undefined,
      messages: [{ role: 'user', content: 'Once' }],
      best_of: 3,
    });
    assert.equal(chat.choices.length, 1);
    api.record(
      'best of six',
      choices.map(({ text, score, candidate }: Json) => [text, score, candidate]),
    );
    api.record(
      'best of three',
      chat.choices.map(({ message, score }: Json) => [message, score]),
    );
  });
}
