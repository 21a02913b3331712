// What a deployment may turn on: pairs of regenerated responses (IMPLICIT_PAIRS), and comparisons offered now and then
// (COMPARE_SHARE).

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eq } from 'drizzle-orm';
import { preferences } from '../shared/database/schema.ts';
import { type Json, startEdgeServer, withEdge } from '../testing/edge-server.ts';

const API_KEY = 'an-admin-key';
const server = await startEdgeServer({ API_KEY });
const { db } = server.connection;
const admin = { authorization: `Bearer ${API_KEY}` };
const messages = [{ role: 'user', content: 'Once upon a time' }];
const listImplicit = () => db.select().from(preferences).where(eq(preferences.source, 'implicit'));

test('with IMPLICIT_PAIRS a regenerated response is preferred to the first one', async () => {
  await withEdge(server, { API_KEY, IMPLICIT_PAIRS: 'on' }, async (send) => {
    const generate = async (fields: object, headers: Record<string, string> = admin): Promise<Json> => {
      const { status, body, text } = await send(
        '/v1/chat/completions',
        { messages, max_tokens: 8, ...fields },
        { ...headers },
      );
      assert.equal(status, 200, text);
      return body;
    };
    const old = await generate({ seed: 1 });
    const created = (await send('/v1/keys', { name: 'product', scopes: ['generate', 'feedback'] }, admin)).body;
    const product = { authorization: `Bearer ${created.key}` };
    const again = await generate({ seed: 2, regenerated_from: old.id, user: 'ann' }, product);
    const [pair, ...others] = await listImplicit();
    assert.deepEqual(others, []);
    assert.deepEqual(
      [pair!.rater, pair!.choice, pair!.chosen_generation_id, pair!.rejected_generation_id, pair!.created_by],
      ['user:ann', 'a', again.id, old.id, created.id],
    );
    assert.deepEqual(
      [pair!.chosen, pair!.rejected],
      [again, old].map(({ choices }) => choices[0].message.content),
    );
    const shown = await fetch(`${server.edge.url}/v1/preferences/${pair!.id}`, { headers: admin });
    assert.equal(((await shown.json()) as Json).trust, 'feedback');
    // An explicit vote on the same two texts is another one.
    const vote = { chosen: old.id, rejected: again.id, rater: 'ann' };
    assert.equal((await send('/v1/preferences', vote, admin)).status, 200);

    // The same text, several choices, a format, a bias: nobody chose between two samples.
    await generate({ seed: 1, regenerated_from: old.id });
    await generate({ n: 2, regenerated_from: old.id });
    await generate({ compare: true, regenerated_from: old.id });
    await generate({ logit_bias: { 5: 1 }, regenerated_from: old.id, seed: 3 });
    assert.equal((await listImplicit()).length, 1);

    const streamed = { messages, max_tokens: 8, seed: 4, regenerated_from: again.id, stream: true };
    assert.equal((await send('/v1/chat/completions', streamed, product)).status, 200);
    const stored = (await listImplicit()).find(({ rejected_generation_id }) => rejected_generation_id === again.id);
    assert.equal(stored!.rater, created.id);
    const text = (await send('/v1/completions', { prompt: 'Once', max_tokens: 6, seed: 1 }, admin)).body;
    await send('/v1/completions', { prompt: 'Once', max_tokens: 6, seed: 2, regenerated_from: text.id }, admin);
    assert.ok((await listImplicit()).some(({ rejected_generation_id }) => rejected_generation_id === text.id));
  });
});

test('a response is regenerated into one pair only, of the key unless the key may name its users', async () => {
  await withEdge(server, { API_KEY, IMPLICIT_PAIRS: 'on' }, async (send) => {
    const key = (await send('/v1/keys', { name: 'only generates', scopes: ['generate'] }, admin)).body;
    const headers = { authorization: `Bearer ${key.key}` };
    const chat = (fields: object) => send('/v1/chat/completions', { messages, max_tokens: 8, ...fields }, headers);
    const old = (await chat({ seed: 10 })).body;
    const again = (at: number) => chat({ seed: 11 + at, user: `u${at}`, regenerated_from: old.id });
    for (const { status, text } of await Promise.all([0, 1, 2, 3, 4, 5].map(again))) assert.equal(status, 200, text);
    const pairs = (await listImplicit()).filter(({ rejected_generation_id: id }) => id === old.id);
    assert.deepEqual(
      pairs.map(({ rater }) => rater),
      [key.id],
    );
  });
});

test('an implicit pair counts as a row of its key', async () => {
  await withEdge(server, { API_KEY, IMPLICIT_PAIRS: 'on' }, async (send) => {
    const limits = { name: 'three rows', scopes: ['generate'], rows_per_day: 3 };
    const key = (await send('/v1/keys', limits, admin)).body;
    const headers = { authorization: `Bearer ${key.key}` };
    const chat = (fields: object) => send('/v1/chat/completions', { messages, max_tokens: 4, ...fields }, headers);
    const old = (await chat({ seed: 5 })).body;
    assert.equal((await chat({ seed: 6, regenerated_from: old.id })).status, 200);
    assert.equal((await chat({ seed: 7 })).body.error.code, 'daily_rows_exceeded');
  });
});

test('with COMPARE_SHARE plain chat completions are comparisons, and only those', async () => {
  await withEdge(server, { API_KEY, COMPARE_SHARE: '1' }, async (send) => {
    const chat = async (fields: object, headers = admin): Promise<Json> => {
      const json = { messages, max_tokens: 4, ...fields };
      const { status, body, text } = await send('/v1/chat/completions', json, headers);
      assert.equal(status, 200, text);
      return body ?? text;
    };
    const offered = await chat({});
    assert.deepEqual([offered.choices.length, offered.comparison.slice(0, 4)], [2, 'cmp_']);
    assert.match(await chat({ stream: true }), /"comparison":"cmp_/);
    for (const fields of [
      { n: 1 },
      { store: false },
      { compare: false },
      { best_of: 2 },
      { ranker: 'mean_logp' },
      { logprobs: true },
      { logit_bias: { 5: 1 } },
      { response_format: { type: 'json_schema', json_schema: { name: 'x', schema: { const: 'hi' } } } },
      { regenerated_from: offered.id },
    ]) {
      const body = await chat(fields);
      assert.deepEqual([body.choices.length, 'comparison' in body], [1, false], JSON.stringify(fields));
    }
    const one = { name: 'one at once', scopes: ['generate'], concurrent_generations: 1 };
    const key = (await send('/v1/keys', one, admin)).body;
    assert.equal((await chat({}, { authorization: `Bearer ${key.key}` })).choices.length, 1);
  });
});

test('COMPARE_SHARE is the share of the completions that are comparisons', async () => {
  await withEdge(server, { API_KEY, COMPARE_SHARE: '0.3' }, async (send) => {
    const json = { messages, max_tokens: 1 };
    const responses = await Promise.all(Array.from({ length: 120 }, () => send('/v1/chat/completions', json, admin)));
    const share = responses.filter(({ body }) => body.comparison).length / responses.length;
    // Four standard deviations.
    assert.ok(Math.abs(share - 0.3) < 0.17, String(share));
  });
});
