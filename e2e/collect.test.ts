// The collecting half of the API: comparisons, preferences, idempotency, lists, import and export.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setStage } from './stage.ts';

const stage = await setStage();
const { request } = stage;

const compare = async (extra: object = {}) =>
  (await request('/v1/comparisons', { json: { prompt: 'Once upon a time', max_tokens: 6, ...extra } })).body;

test('a comparison is blind until somebody has voted', async () => {
  const comparison = await compare();
  assert.match(comparison.id, /^cmp_/);
  assert.equal(comparison.a.model, undefined);
  assert.equal(comparison.a.generation, undefined);
  const vote = await request('/v1/preferences', { json: { comparison: comparison.id, choice: 'b', rater: 'ann' } });
  assert.equal(vote.status, 200);
  assert.equal(vote.body.chosen.text, comparison.b.text);
  assert.equal(vote.body.rejected.text, comparison.a.text);
  const after = (await request(`/v1/comparisons/${comparison.id}`)).body;
  assert.equal(after.voted, true);
  assert.equal(after.b.generation, vote.body.chosen.generation);
  assert.equal(after.b.model, stage.policyId);
});

test('two policies can be compared, and their sides are shuffled', async () => {
  const other = await stage.importTiny(2);
  const firsts = new Set<string>();
  for (let at = 0; at < 20 && firsts.size < 2; at++) {
    const { id } = await compare({ models: [stage.policyId, other], seed: at });
    await request('/v1/preferences', { json: { comparison: id, choice: 'tie' } });
    const shown = (await request(`/v1/comparisons/${id}`)).body;
    assert.deepEqual(new Set([shown.a.model, shown.b.model]), new Set([stage.policyId, other]));
    firsts.add(shown.a.model);
  }
  assert.equal(firsts.size, 2);
});

test('a rater votes once on a comparison; another rater may vote too', async () => {
  const { id } = await compare();
  const json = { comparison: id, choice: 'a', rater: 'ann' };
  assert.equal((await request('/v1/preferences', { json })).status, 200);
  const again = await request('/v1/preferences', { json });
  assert.equal(again.status, 409);
  assert.equal(again.headers.get('x-should-retry'), 'false');
  assert.equal(again.body.error.code, 'already_voted');
  assert.equal((await request('/v1/preferences', { json: { ...json, rater: 'bob' } })).status, 200);
});

test('the same idempotency key gives the same answer, and other content under it is a conflict not to be retried', async () => {
  const { id } = await compare();
  const headers = { 'idempotency-key': 'vote-1' };
  const json = { comparison: id, choice: 'a', rater: 'ann' };
  const [first, second] = await Promise.all([
    request('/v1/preferences', { json, headers }),
    request('/v1/preferences', { json, headers }),
  ]);
  assert.equal(first.status, 200);
  assert.deepEqual(first.body, second.body);
  assert.deepEqual((await request('/v1/preferences', { json, headers })).body, first.body);
  const conflict = await request('/v1/preferences', { json: { ...json, choice: 'b' }, headers });
  assert.equal(conflict.status, 409);
  assert.equal(conflict.body.error.code, 'idempotency_conflict');
  assert.equal(conflict.headers.get('x-should-retry'), 'false');
});

test('a body id makes a comparison once', async () => {
  const first = await compare({ id: 'my-comparison' });
  assert.deepEqual(await compare({ id: 'my-comparison' }), first);
});

test('two generations of one prompt make a preference; of two prompts, or one generation twice, they do not', async () => {
  const generate = async (prompt: string) =>
    (await request('/v1/completions', { json: { prompt, n: 2, max_tokens: 4 } })).body.choices;
  const [first, second] = await generate('Once');
  const good = await request('/v1/preferences', {
    json: { chosen: first.generation_id, rejected: second.generation_id },
  });
  assert.equal(good.status, 200, JSON.stringify(good.body));
  assert.equal(good.body.prompt, 'Once');
  const [other] = await generate('Then');
  const mixed = await request('/v1/preferences', {
    json: { chosen: first.generation_id, rejected: other.generation_id },
  });
  assert.equal(mixed.body.error.code, 'different_prompts');
  const same = await request('/v1/preferences', {
    json: { chosen: first.generation_id, rejected: first.generation_id },
  });
  assert.equal(same.status, 400);
  assert.equal(same.body.error.param, 'rejected');
});

test('raw texts make a preference', async () => {
  const json = { messages: [{ role: 'user', content: 'Hi' }], chosen: 'Hello!', rejected: 'Go away.', rater: 'ann' };
  const { status, body } = await request('/v1/preferences', { json });
  assert.equal(status, 200);
  assert.deepEqual((await request(`/v1/preferences/${body.id}`)).body, body);
});

const refusals: [string, object, number, string][] = [
  ['a vote without a choice', { comparison: 'cmp_1' }, 400, 'choice'],
  ['a vote on an unknown comparison', { comparison: 'cmp_1', choice: 'a' }, 404, 'comparison'],
  ['an unknown choice', { comparison: 'cmp_1', choice: 'c' }, 400, 'choice'],
  ['a choice without a comparison', { choice: 'a', prompt: 'x', chosen: 'y', rejected: 'z' }, 400, 'choice'],
  ['an unknown generation', { chosen: 'chatcmpl-1', rejected: 'chatcmpl-2' }, 404, 'chosen'],
  ['an empty side', { prompt: 'x', chosen: '', rejected: 'z' }, 400, 'chosen'],
  ['nothing at all', {}, 400, 'chosen'],
];
for (const [name, json, status, param] of refusals) {
  test(`${name} is refused and names ${param}`, async () => {
    const answer = await request('/v1/preferences', { json });
    assert.equal(answer.status, status, JSON.stringify(answer.body));
    assert.equal(answer.body.error.param, param);
  });
}

test('lists page through everything once, in either order', async () => {
  for (const order of ['asc', 'desc']) {
    const seen: string[] = [];
    let after = '';
    while (true) {
      const page = (await request(`/v1/preferences?limit=2&order=${order}${after && `&after=${after}`}`)).body;
      assert.equal(page.object, 'list');
      seen.push(...page.data.map((item: { id: string }) => item.id));
      if (!page.has_more) break;
      after = page.last_id;
    }
    const sorted = [...new Set(seen)].sort();
    assert.deepEqual(seen, order === 'asc' ? sorted : sorted.reverse());
    assert.ok(seen.length >= 5);
  }
});

test('an import reports each row that it refuses, and repeating it adds nothing', async () => {
  const body = [
    JSON.stringify({ prompt: 'Say hi', chosen: 'hi', rejected: 'no' }),
    '{"prompt": broken',
    JSON.stringify({
      input: { messages: [{ role: 'user', content: 'Q' }] },
      preferred_output: [{ role: 'assistant', content: 'A' }],
      non_preferred_output: [{ role: 'assistant', content: 'B' }],
    }),
    JSON.stringify({ prompt: 'Say hi', chosen: '', rejected: 'no' }),
  ].join('\n');
  const send = () =>
    request('/v1/preferences/import', { method: 'POST', body, headers: { 'content-type': 'application/jsonl' } });
  const first = (await send()).body;
  assert.deepEqual([first.imported, first.refused, first.duplicates], [2, 2, 0], JSON.stringify(first));
  assert.deepEqual(
    first.errors.map((error: { row: number }) => error.row),
    [2, 4],
  );
  const second = (await send()).body;
  assert.deepEqual([second.imported, second.duplicates], [0, 2]);
});

test('an export in each shape imports as the same preferences', async () => {
  for (const format of ['openai', 'trl']) {
    const { body } = await request(`/v1/preferences/export?format=${format}`);
    const lines = body.trim().split('\n');
    assert.ok(lines.length >= 5);
    for (const line of lines) JSON.parse(line);
  }
});

test('a policy is promoted and rolled back in one call each, and answers name it', async () => {
  const other = await stage.importTiny(3);
  const model = async () => (await request('/v1/completions', { json: { prompt: 'Once', max_tokens: 2 } })).body.model;
  assert.equal((await request(`/v1/policies/${other}/promote`, { method: 'POST' })).status, 200);
  assert.equal(await model(), other);
  const started = performance.now();
  const back = await request('/v1/policies/rollback', { method: 'POST' });
  assert.equal(back.body.id, stage.policyId);
  assert.equal(await model(), stage.policyId);
  assert.ok(performance.now() - started < 5000);
  const nothing = await request('/v1/policies/rollback', { method: 'POST' });
  assert.equal(nothing.status, 409);
});

test('a stream that began on the old policy ends on it, while new requests get the new one', async () => {
  const other = await stage.importTiny(4);
  const old = (await request('/health')).body.policy;
  const response = await fetch(`${stage.edge.url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompt: 'Once', max_tokens: 100, stream: true, logit_bias: { 1: -100, 2: -100 } }),
  });
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = (await reader.read()).value ?? '';
  const promoted = request(`/v1/policies/${other}/promote`, { method: 'POST' });
  for (let part = await reader.read(); !part.done; part = await reader.read()) text += part.value;
  assert.equal((await promoted).status, 200);
  const events = text.split('\n\n').filter((event) => event.startsWith('data: {'));
  const chunks = events.map((event) => JSON.parse(event.slice('data: '.length)));
  assert.deepEqual([...new Set(chunks.map((chunk) => chunk.model))], [old]);
  assert.equal(chunks.at(-1).choices[0].finish_reason, 'length');
  assert.ok(text.endsWith('data: [DONE]\n\n'));
  assert.equal((await request('/v1/completions', { json: { prompt: 'Once', max_tokens: 1 } })).body.model, other);
});

test('the sides of a comparison cannot be looked up before somebody has voted', async () => {
  const messages = [{ role: 'user', content: 'Blind' }];
  const { id } = (await request('/v1/comparisons', { json: { messages, max_tokens: 3 } })).body;
  const listed = async () =>
    (await request('/v1/chat/completions?limit=100')).body.data.map((item: { id: string }) => item.id);
  const before = await listed();
  await request('/v1/preferences', { json: { comparison: id, choice: 'a' } });
  const { a, b } = (await request(`/v1/comparisons/${id}`)).body;
  // Both are choices of one completion, whose id is that of the one made first, on whichever side it is shown.
  const sides = [a.generation, b.generation];
  assert.deepEqual(
    before.filter((seen: string) => sides.includes(seen)),
    [],
  );
  assert.equal((await listed()).filter((seen: string) => sides.includes(seen)).length, 1);
});

test('text that Postgres cannot hold, and ids that are none, are refused and no fault of ours', async () => {
  for (const prompt of ['half \ud800 pair', 'a \0 character']) {
    const answer = await request('/v1/preferences', { json: { prompt, chosen: 'a', rejected: 'b' } });
    assert.equal(answer.status, 400);
  }
  assert.equal((await request('/v1/preferences', { json: { comparison: '', choice: 'a' } })).status, 400);
  assert.equal((await request('/v1/preferences?after=%00')).status, 400);
  const alias = await request('/v1/completions', { json: { prompt: 'Once', model: `x/${stage.policyId}` } });
  assert.equal(alias.body.error.code, 'model_not_found');
});
