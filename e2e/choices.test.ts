// What an answer says of its choices and tokens, and that it says the same of them later.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Json, setStage } from './stage.ts';

const stage = await setStage();
const messages = [{ role: 'user', content: 'Once upon a time' }];
/** The tiny policy does not end by itself. */
const ENDLESS = { logit_bias: { 1: -100, 2: -100 } };

test('the list of chat completions shows every choice, as fetching each one does', async () => {
  const made: Json[] = [];
  for (const n of [1, 3, 2])
    made.push((await stage.request('/v1/chat/completions', { json: { messages, n, max_tokens: 4 } })).body);
  const { body } = await stage.request('/v1/chat/completions?order=asc');
  assert.deepEqual(
    body.data.map((completion: Json) => completion.choices.length),
    [1, 3, 2],
  );
  for (const [at, completion] of body.data.entries()) {
    assert.equal(completion.id, made[at].id);
    assert.deepEqual(completion.choices, made[at].choices);
    assert.deepEqual((await stage.request(`/v1/chat/completions/${completion.id}`)).body, completion);
  }
  const page = (await stage.request('/v1/chat/completions?order=asc&limit=2')).body;
  assert.equal(page.has_more, true);
  assert.equal(page.last_id, made[1].id);
});

test('text_offset says where in the text each token begins, whole or streamed', async () => {
  const json = { prompt: 'Once upon', max_tokens: 40, seed: 4, logprobs: 1, ...ENDLESS };
  const { body } = await stage.request('/v1/completions', { json });
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
  const streamed: string = (await stage.request('/v1/completions', { json: { ...json, stream: true } })).body;
  const offsets = streamed
    .split('\n\n')
    .filter((event) => event.startsWith('data: {'))
    .flatMap((event) => JSON.parse(event.slice('data: '.length)).choices[0].logprobs?.text_offset ?? []);
  assert.deepEqual(offsets, text_offset);
});

test('one of several prompts that finds no room takes the others with it, and their rows are free again', async () => {
  const json = { prompt: Array.from({ length: 16 }, () => 'Once'), n: 16, max_tokens: 60, store: false, ...ENDLESS };
  const first = stage.request('/v1/completions', { json });
  const second = await stage.request('/v1/completions', { json });
  assert.equal(second.status, 429);
  await first;
  const after = await stage.request('/v1/completions', { json: { prompt: 'Once', max_tokens: 2 } });
  assert.equal(after.status, 200);
});
