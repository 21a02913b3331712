// response_format: JSON and JSON Schema, with OpenAI's client and its helper for zod.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eq } from 'drizzle-orm';
import { zodResponseFormat } from 'openai/helpers/zod';
import { z } from 'zod';
import { selectGenerations } from '../../shared/database/generations.ts';
import { generations } from '../../shared/database/schema.ts';
import type { Api } from './api.ts';
import { parseChunks } from './server-sent-events.ts';

const messages = [{ role: 'user' as const, content: 'Once upon a time' }];

/** Short enough for the context of a tiny policy. */
const Animal = z.object({
  kind: z.enum(['cat', 'dog']),
  legs: z.number().int().min(0).max(8),
  tame: z.boolean().nullable(),
});
const format = zodResponseFormat(Animal, 'animal');

export function testResponseFormat(api: Api): void {
  const { client, server } = api;

  test('OpenAI’s client parses what a zod schema describes', async () => {
    for (const seed of [1, 2, 3]) {
      const completion = await client.chat.completions.parse({
        model: 'attune',
        messages,
        response_format: format,
        max_tokens: 100,
        seed,
      });
      const [choice] = completion.choices;
      assert.equal(choice!.finish_reason, 'stop');
      assert.deepEqual(choice!.message.parsed, JSON.parse(choice!.message.content!));
      api.record(`a zod schema, seed ${seed}`, choice!.message.content);
    }
  });

  test('the stream of a format has the text of the same seed', async () => {
    const json = { messages, response_format: format, max_tokens: 100, seed: 1 };
    const whole = (await api.request('/v1/chat/completions', { json })).body;
    const { text } = await api.request('/v1/chat/completions', { json: { ...json, stream: true } });
    const streamed = parseChunks(text).map((chunk) => chunk.choices[0].delta.content ?? '');
    assert.equal(streamed.join(''), whole.choices[0].message.content);
  });

  test('the format is stored with the generation, and its log-probabilities are the policy’s own', async () => {
    const { body } = await api.request('/v1/chat/completions', {
      json: { messages, response_format: format, max_tokens: 100, temperature: 0 },
    });
    const [row] = await selectGenerations(server.connection.db).where(eq(generations.id, body.id));
    assert.deepEqual(row!.sampling.response_format, format);
    const { body: scores } = await api.request('/v1/score', {
      json: { prompt: row!.prompt_token_ids, response: row!.token_ids, reference: null },
    });
    for (const [at, token] of scores.data[0].tokens.entries())
      assert.ok(Math.abs(token.logp - row!.logps[at]!) < 1e-4, `token ${at}`);
    api.record('a schema, greedy', row!.token_ids);
  });

  test('completions and comparisons take formats, with several choices and best_of', async () => {
    const response_format = { type: 'json_schema', json_schema: { name: 'x', schema: { enum: ['one', 'two', 3] } } };
    const json = { prompt: 'Once upon a time', max_tokens: 40, seed: 4, response_format };
    const { body: several } = await api.request('/v1/completions', { json: { ...json, n: 3 } });
    const { body: best } = await api.request('/v1/completions', { json: { ...json, n: 2, best_of: 5 } });
    const { body: comparison } = await api.request('/v1/comparisons', { json });
    const texts = [...several.choices, ...best.choices, comparison.a, comparison.b].map(({ text }) => text);
    assert.equal(texts.length, 7);
    for (const text of texts) assert.ok(['"one"', '"two"', '3'].includes(text), text);
    api.record('several constrained choices', texts.slice(0, 5));
  });

  test('json_object begins an object; max_tokens and stop strings end it early', async () => {
    const json = { messages, response_format: { type: 'json_object' }, max_tokens: 1, seed: 2 };
    const { body } = await api.request('/v1/chat/completions', { json });
    assert.deepEqual([body.choices[0].message.content, body.choices[0].finish_reason], ['{', 'length']);
    const { body: stopped } = await api.request('/v1/chat/completions', {
      json: { ...json, response_format: format, max_tokens: 100, stop: ['"legs"'] },
    });
    assert.match(stopped.choices[0].message.content, /^\{\s*"kind": ?"(cat|dog)",\s*$/);
    assert.equal(stopped.choices[0].finish_reason, 'stop');
  });

  test('text is any text', async () => {
    const json = { messages, max_tokens: 12, seed: 5 };
    const texts = await Promise.all(
      [undefined, null, { type: 'text' }].map(async (response_format) => {
        const { body } = await api.request('/v1/chat/completions', { json: { ...json, response_format } });
        return body.choices[0].message.content;
      }),
    );
    assert.equal(new Set(texts).size, 1);
  });
}
