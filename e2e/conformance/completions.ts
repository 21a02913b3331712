// Text completions: the continuation of a text.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Api } from './api.ts';
import { readChunks } from './server-sent-events.ts';

/** The tiny policy does not end by itself. */
const ENDLESS = { logit_bias: { 1: -100, 2: -100 } };

export function conformCompletions(api: Api): void {
  const { client } = api;

  test('a text completion continues a text, several texts, and token ids', async () => {
    const answer = await client.completions.create({ model: 'attune', prompt: 'Once', max_tokens: 4, seed: 3 });
    assert.equal(answer.object, 'text_completion');
    assert.match(answer.id, /^cmpl-[0-9a-f]{32}$/);
    const both = await client.completions.create({
      model: 'attune',
      prompt: ['Once', 'Then'],
      n: 2,
      max_tokens: 4,
      seed: 8,
    });
    assert.deepEqual(
      both.choices.map((choice) => choice.index),
      [0, 1, 2, 3],
    );
    const ids = await client.completions.create({ model: 'attune', prompt: [1, 5, 6], max_tokens: 4, temperature: 0 });
    assert.equal(ids.usage?.prompt_tokens, 3);
    // OpenAI's default for this operation.
    const { usage } = await client.completions.create({ model: 'attune', prompt: 'Once', ...ENDLESS });
    assert.equal(usage?.completion_tokens, 16);
    const texts = [answer, both, ids].map(({ choices }) => choices.map(({ text }) => text));
    api.keep('text completions', texts);
  });

  test('a stop string ends the text before it, whole or streamed', async () => {
    const json = { prompt: 'Once', max_tokens: 30, temperature: 0 };
    const ask = async (extra: object) => api.request('/v1/completions', { json: { ...json, ...extra } });
    const { text } = (await ask({})).body.choices[0];
    const stop = text.slice(5, 8);
    const [cut] = (await ask({ stop })).body.choices;
    assert.equal(cut.text, text.slice(0, text.indexOf(stop)));
    assert.equal(cut.finish_reason, 'stop');
    const chunks = readChunks((await ask({ stop, stream: true })).text);
    assert.equal(chunks.map(({ choices }) => choices[0].text).join(''), cut.text);
    api.keep('a text before its stop string', cut.text);
  });

  test('text_offset says where in the text each token begins, whole or streamed', async () => {
    const json = { prompt: 'Once upon', max_tokens: 40, seed: 4, logprobs: 1, ...ENDLESS };
    const { body } = await api.request('/v1/completions', { json });
    const [choice] = body.choices;
    const { tokens, text_offset } = choice.logprobs;
    assert.equal(text_offset.length, tokens.length);
    assert.equal(text_offset[0], 0);
    const characters = [...choice.text];
    for (const [at, token] of tokens.entries()) {
      // A part of a character has no text of its own: it begins where the whole one does.
      if (token.includes('\uFFFD')) continue;
      assert.equal(characters.slice(text_offset[at], text_offset[at] + [...token].length).join(''), token);
    }
    const { text } = await api.request('/v1/completions', { json: { ...json, stream: true } });
    const offsets = readChunks(text).flatMap(({ choices }) => choices[0].logprobs?.text_offset ?? []);
    assert.deepEqual(offsets, text_offset);
    api.keep('logprobs of a text', choice.logprobs);
  });
}
