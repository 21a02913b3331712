// Preferences: votes on comparisons, pairs of generations, and raw texts.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import type { Json } from '../../testing/edge-server.ts';
import { type Api, KEYS } from './api.ts';
import { openRaterSession } from './open-session.ts';

export function testPreferences(api: Api): void {
  const { client, request } = api;
  const compare = async (): Promise<Json> =>
    (await request('/v1/comparisons', { json: { prompt: 'Once upon a time', max_tokens: 4 } })).body;

  for (const choice of ['a', 'b', 'tie', 'both_bad', 'skip']) {
    test(`a vote of ${choice} is stored and can be retrieved`, async () => {
      const comparison = await compare();
      const vote: Json = await client.post('/preferences', {
        body: { comparison: comparison.id, choice, rater: 'ann', metadata: { took: 1.5, nested: { why: ['short'] } } },
      });
      assert.match(vote.id, /^pref_[0-9a-f]{32}$/);
      const [chosen, rejected] = choice === 'b' ? ['b', 'a'] : ['a', 'b'];
      assert.equal(vote.choice, choice);
      assert.equal(vote.chosen.text, comparison[chosen!].text);
      assert.equal(vote.rejected.text, comparison[rejected!].text);
      assert.deepEqual(vote.metadata, { took: 1.5, nested: { why: ['short'] } });
      const { status, body } = await request(`/v1/preferences/${vote.id}`);
      assert.equal(status, 200);
      assert.deepEqual(body, vote);
    });
  }

  test('a second vote by one rater is a non-retryable 409, and another rater can vote', async () => {
    const { id } = await compare();
    const json = { comparison: id, choice: 'a', rater: 'ann' };
    assert.equal((await request('/v1/preferences', { json })).status, 200);
    const again = await request('/v1/preferences', { json });
    assert.equal(again.status, 409);
    assert.equal(again.headers.get('x-should-retry'), 'false');
    assert.equal(again.body.error.code, 'already_voted');
    const before = api.calls.length;
    const retrying = api.connect({ maxRetries: 3 }).post('/preferences', { body: json });
    await assert.rejects(retrying, OpenAI.ConflictError);
    assert.equal(api.calls.length - before, 1);
    assert.equal((await request('/v1/preferences', { json: { ...json, rater: 'bob' } })).status, 200);
  });

  test('exactly one of ten concurrent votes by one rater is accepted', async () => {
    const { id } = await compare();
    const json = { comparison: id, choice: 'a', rater: 'hasty' };
    const responses = await Promise.all(Array.from({ length: 10 }, () => request('/v1/preferences', { json })));
    assert.deepEqual(responses.map(({ status }) => status).sort(), [200, ...Array(9).fill(409)]);
  });

  test('accepts two generations from one prompt, and rejects those from two prompts or the same one twice', async () => {
    const generate = async (prompt: string) =>
      (await request('/v1/completions', { json: { prompt, n: 2, max_tokens: 4 } })).body.choices;
    const [first, second] = await generate('Once');
    const good = await request('/v1/preferences', {
      json: { chosen: first.generation_id, rejected: second.generation_id },
    });
    assert.equal(good.status, 200, JSON.stringify(good.body));
    assert.equal(good.body.prompt, 'Once');
    assert.deepEqual([good.body.source, good.body.rater, good.body.trust], ['generations', 'anonymous', 'feedback']);
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

  test('a rater votes once on two texts, whichever is preferred', async () => {
    const pair = { prompt: `Twice, ${api.runtime}`, chosen: 'hi', rejected: 'no', rater: 'ann' };
    assert.equal((await request('/v1/preferences', { json: pair })).status, 200);
    for (const again of [pair, { ...pair, chosen: 'no', rejected: 'hi' }]) {
      const { status, body } = await request('/v1/preferences', { json: again });
      assert.deepEqual([status, body.error.code, body.error.param], [409, 'already_voted', 'chosen']);
    }
    assert.equal((await request('/v1/preferences', { json: { ...pair, rater: 'bob' } })).status, 200);
  });

  test('accepts raw texts in any script', async () => {
    const json = {
      messages: [{ role: 'user', content: 'Grüß mich 你好 👋🏽' }],
      chosen: 'Hello! مرحبا\u2028\t"\\',
      rejected: 'Go away.',
      rater: `ænn, ${api.runtime}`,
    };
    const { status, body } = await request('/v1/preferences', { json });
    assert.equal(status, 200);
    assert.equal(body.chosen.text, json.chosen);
    assert.equal(body.prompt[0].content, json.messages[0]!.content);
    assert.equal(body.rater, `user:${json.rater}`);
    assert.deepEqual((await request(`/v1/preferences/${body.id}`)).body, body);
  });

  test('the statistics count stored preferences', async () => {
    const count = async () => (await request('/v1/preferences/stats')).body;
    const before = await count();
    const { id } = await compare();
    await request('/v1/preferences', { json: { comparison: id, choice: 'both_bad', rater: `new, ${api.runtime}` } });
    const after = await count();
    assert.equal(after.total, before.total + 1);
    assert.equal(after.raters, before.raters + 1);
    assert.equal(after.by_choice.both_bad, before.by_choice.both_bad + 1);
    assert.equal(after.pairs_not_yet_seen, before.pairs_not_yet_seen);
    assert.equal(
      Object.values(after.by_source as Record<string, number>).reduce((sum, n) => sum + n),
      after.total,
    );
  });

  const details = { strength: 'clearly', tags: ['accurate', 'kind'], comment: 'Says why.', seconds: 12.5 };
  const undetailed = { strength: null, tags: [], comment: null, seconds: null };
  const pick = ({ strength, tags, comment, seconds }: Json) => ({ strength, tags, comment, seconds });

  test('a vote says by how much, why and how long it took, and its edit is a demonstration', async () => {
    const comparison = await compare();
    const json = { comparison: comparison.id, choice: 'b', rater: 'editor', ...details, edit: 'A better text.' };
    const { status, body: vote } = await request('/v1/preferences', { json });
    assert.equal(status, 200, JSON.stringify(vote));
    assert.deepEqual(pick(vote), details);
    assert.deepEqual([vote.edit_of, vote.queue], [null, null]);
    assert.deepEqual((await request(`/v1/preferences/${vote.id}`)).body, vote);
    const { body: edit } = await request(`/v1/preferences/${vote.demonstration}`);
    assert.deepEqual([edit.source, edit.edit_of, edit.rater], ['demonstration', vote.id, vote.rater]);
    assert.deepEqual([edit.comparison, edit.trust, edit.demonstration], [null, 'feedback', null]);
    assert.deepEqual(edit.chosen, { text: 'A better text.', generation: null });
    assert.deepEqual(edit.rejected, vote.chosen);
    assert.deepEqual(pick(edit), undetailed);
    const plain = await request('/v1/preferences', {
      json: { comparison: comparison.id, choice: 'a', rater: 'brief' },
    });
    assert.deepEqual(
      { ...pick(plain.body), demonstration: plain.body.demonstration },
      { ...undetailed, demonstration: null },
    );
    const exported = (await request('/v1/preferences/export?format=trl')).text;
    assert.ok(exported.split('\n').some((line) => line.includes(`"${edit.id}"`) && line.includes('A better text.')));
  });

  test('strength and edit need a preferred side, and an edit another text', async () => {
    const comparison = await compare();
    const cases: [object, string][] = [
      [{ choice: 'tie', strength: 'much' }, 'strength'],
      [{ choice: 'skip', edit: 'Better' }, 'edit'],
      [{ choice: 'a', edit: comparison.a.text }, 'edit'],
      [{ choice: 'a', edit: ' ' }, 'edit'],
      [{ choice: 'a', strength: 'hugely' }, 'strength'],
      [{ choice: 'a', tags: Array(21).fill('tag') }, 'tags'],
      [{ choice: 'a', tags: ['x'.repeat(65)] }, 'tags.0'],
      [{ choice: 'a', comment: 'x'.repeat(4001) }, 'comment'],
      [{ choice: 'a', seconds: -1 }, 'seconds'],
    ];
    for (const [fields, param] of cases) {
      const { status, body } = await request('/v1/preferences', { json: { comparison: comparison.id, ...fields } });
      assert.deepEqual([status, body.error?.param], [400, param], JSON.stringify(fields));
    }
    assert.equal((await request(`/v1/comparisons/${comparison.id}`)).body.voted, false);
  });

  test('a changed vote keeps what still holds of it, and a retracted one takes its edit along', async () => {
    const { id } = await compare();
    const given = { comparison: id, choice: 'a', rater: 'undecided', ...details, edit: 'Better than a.' };
    const headers = { authorization: `Bearer ${KEYS[0]}` };
    const vote = (await request('/v1/preferences', { json: given, headers })).body;
    const path = `/v1/preferences/${vote.id}`;
    const change = async (json: object) => {
      const { status, body } = await request(path, { json, headers });
      assert.equal(status, 200, JSON.stringify(body));
      assert.deepEqual((await request(path)).body, body);
      return body;
    };
    const commented = await change({ comment: 'Second thoughts.', tags: null });
    assert.deepEqual(pick(commented), { ...details, comment: 'Second thoughts.', tags: [] });
    assert.equal(commented.demonstration, vote.demonstration);
    const rewritten = await change({ edit: 'Even better than a.' });
    assert.notEqual(rewritten.demonstration, vote.demonstration);
    assert.equal((await request(`/v1/preferences/${vote.demonstration}`)).status, 404);
    const other = await change({ choice: 'b' });
    assert.deepEqual([other.strength, other.demonstration, other.comment], [null, null, 'Second thoughts.']);
    assert.equal((await request(`/v1/preferences/${rewritten.demonstration}`)).status, 404);
    const edited = await change({ choice: 'b', strength: 'slightly', edit: 'Better than b.' });
    assert.equal((await request(`/v1/preferences/${edited.demonstration}`)).body.rejected.text, vote.rejected.text);
    assert.equal((await change({ edit: null })).demonstration, null);
    const last = await change({ edit: 'Better after all.' });
    assert.equal((await request(path, { json: {}, headers })).status, 400);
    const retract = await request(`/v1/preferences/${last.demonstration}`, { method: 'DELETE' });
    assert.equal(retract.status, 200);
    assert.equal((await request(path)).body.demonstration, null);
  });

  test('an edit is of a rater who signed in, or of a key with the scope feedback', async () => {
    const { body } = await request('/v1/keys', { json: { name: 'edits', scopes: ['rate', 'generate', 'read'] } });
    const headers = { authorization: `Bearer ${body.key}` };
    const { cookie } = await openRaterSession(api);
    const { id } = (await request('/v1/comparisons', { json: { prompt: 'Once', max_tokens: 4 }, headers })).body;
    const json = { comparison: id, choice: 'a', edit: 'Better.' };
    const refused = await request('/v1/preferences', { json, headers });
    assert.deepEqual([refused.status, refused.body.error.param], [403, 'edit']);
    assert.equal((await request('/v1/preferences', { json: { ...json, edit: undefined }, headers })).status, 200);
    const asRater = { method: 'POST', headers: { cookie, 'content-type': 'application/json' } };
    const edited = await fetch(`${api.url}/v1/preferences`, { ...asRater, body: JSON.stringify(json) });
    const vote = (await edited.json()) as Json;
    assert.equal(edited.status, 200, JSON.stringify(vote));
    const edit = (await request(`/v1/preferences/${vote.demonstration}`)).body;
    assert.deepEqual([edit.trust, edit.rater], ['rated', vote.rater]);
    const cleared = await fetch(`${api.url}/v1/preferences/${vote.id}`, { ...asRater, method: 'DELETE' });
    assert.equal(cleared.status, 200);
    for (const gone of [vote.id, edit.id]) assert.equal((await request(`/v1/preferences/${gone}`)).status, 404);
  });

  test('the comparison of a queue is voted on through a reservation, and raters see it there only', async () => {
    const { sql } = api.server.connection;
    const { id } = await compare();
    const given = { json: { comparison: id, choice: 'a' } };
    assert.equal((await request('/v1/preferences', given)).status, 200);
    const queue = `que_${api.runtime}`;
    await sql`insert into queues (id, name, settings, guidelines_version) values (${queue}, ${queue}, ${sql.json({ reveal: true })}, 1)`;
    await sql`update comparisons set queue_id = ${queue} where id = ${id}`;
    const refused = await request('/v1/preferences', { json: { ...given.json, rater: 'other' } });
    assert.deepEqual([refused.status, refused.body.error.code], [409, 'queued_comparison']);
    assert.match(refused.body.error.message, new RegExp(queue));
    const { cookie } = await openRaterSession(api);
    const seen = await fetch(`${api.url}/v1/comparisons/${id}`, { headers: { cookie } });
    assert.equal(seen.status, 404);
    const all = (await request(`/v1/comparisons/${id}`)).body;
    assert.deepEqual([all.voted, all.queue, 'model' in all.a], [true, queue, true]);
  });
}
