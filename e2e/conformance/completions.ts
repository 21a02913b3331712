// Text completions.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Api } from './api.ts';
import { parseChunks } from './server-sent-events.ts';

/** Without end-of-text tokens. */
const ENDLESS = { logit_bias: { 1: -100, 2: -100 } };

export function testCompletions(api: Api): void {
  const { client } = api;

  test('a text completion accepts one prompt, several prompts, and token ids', async () => {
    const completion = await client.completions.create({ model: 'attune', prompt: 'Once', max_tokens: 4, seed: 3 });
    assert.equal(completion.object, 'text_completion');
    assert.match(completion.id, /^cmpl-[0-9a-f]{32}$/);
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
    // OpenAI's default max_tokens.
    const { usage } = await client.completions.create({ model: 'attune', prompt: 'Once', ...ENDLESS });
    assert.equal(usage?.completion_tokens, 16);
    const texts = [completion, both, ids].map(({ choices }) => choices.map(({ text }) => text));
    api.record('text completions', texts);
  });

  test('the text ends before a stop string, with and without streaming', async () => {
    const json = { prompt: 'Once', max_tokens: 30, temperature: 0 };
    const complete = async (extra: object) => api.request('/v1/completions', { json: { ...json, ...extra } });
    const { text } = (await complete({})).body.choices[0];
    const stop = text.slice(5, 8);
    const [cut] = (await complete({ stop })).body.choices;
    assert.equal(cut.text, text.slice(0, text.indexOf(stop)));
    assert.equal(cut.finish_reason, 'stop');
    const chunks = parseChunks((await complete({ stop, stream: true })).text);
    assert.equal(chunks.map(({ choices }) => choices[0].text).join(''), cut.text);
    api.record('a text before its stop string', cut.text);
  });

  test('text_offset is the start of each token in the text, with and without streaming', async () => {
    const json = { prompt: 'Once upon', max_tokens: 40, seed: 4, logprobs: 1, ...ENDLESS };
    const { body } = await api.request('/v1/completions', { json });
    const [choice] = body.choices;
    const { tokens, text_offset } = choice.logprobs;
    assert.equal(text_offset.length, tokens.length);
    assert.equal(text_offset[0], 0);
    const characters = [...choice.text];
    for (const [at, token] of tokens.entries()) {
      // A token that is part of a character has the offset of that character.
      if (token.includes('\uFFFD')) continue;
      assert.equal(characters.slice(text_offset[at], text_offset[at] + [...token].length).join(''), token);
    }
    const { text } = await api.request('/v1/completions', { json: { ...json, stream: true } });
    const offsets = parseChunks(text).flatMap(({ choices }) => choices[0].logprobs?.text_offset ?? []);
    assert.deepEqual(offsets, text_offset);
    api.record('logprobs of a text', choice.logprobs);
  });
}
