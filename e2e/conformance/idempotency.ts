// Idempotency keys, in the header or as an id in the body: a repeated request takes effect once.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { and, eq, like, sql } from 'drizzle-orm';
import { selectGenerations } from '../../shared/database/generations.ts';
import { activations, completions, idempotency_keys, preferences, rounds } from '../../shared/database/schema.ts';
import { sha256 } from '../../shared/digest.ts';
import type { Json } from '../../testing/edge-server.ts';
import { type Api, type ApiResponse, KEYS } from './api.ts';
import { assertError } from './errors.ts';
import { parseChunks, parseEvents } from './server-sent-events.ts';

const [AS_FIRST, AS_SECOND] = KEYS.map((key) => ({ authorization: `Bearer ${key}` }));
const messages = [{ role: 'user', content: 'Once upon a time' }];

export function testIdempotency(api: Api): void {
  const { server } = api;
  const { db } = server.connection;
  const named = (name: string) => `${name}, ${api.runtime}`;
  const countGenerations = async (user: string) =>
    (await selectGenerations(db).where(eq(completions.user, user))).length;
  /** Another pair for each name: a rater votes once on two texts. */
  const makePair = (name: string) => ({ prompt: `Say hi, ${named(name)}`, chosen: 'hi', rejected: 'no' });
  /** A POST of the first caller. */
  const post = (path: string, json: object, name: string) =>
    api.request(path, { json, headers: { ...AS_FIRST, 'idempotency-key': named(name) } });
  const vote = (name: string, fields: object = {}) => post('/v1/preferences', { ...makePair(name), ...fields }, name);
  const assertReplay = (response: ApiResponse, original: ApiResponse) => {
    assert.equal(response.status, 200, response.text);
    assert.equal(response.text, original.text);
    assert.equal(response.headers.get('idempotent-replayed'), 'true');
  };

  test('the same key gives the same response, and other content with it is a non-retryable conflict', async () => {
    const [first, second] = await Promise.all([vote('vote'), vote('vote')]);
    assert.equal(first.status, 200);
    assert.equal(first.text, second.text);
    assertReplay(await vote('vote'), first);
    const conflict = await vote('vote', { chosen: 'ho' });
    assert.equal(conflict.status, 409);
    assert.equal(conflict.body.error.code, 'idempotency_conflict');
    assert.equal(conflict.headers.get('x-should-retry'), 'false');
    api.record('a conflict of keys', conflict.body);
  });

  test('the order of fields and the spacing do not count as content', async () => {
    const original = await vote('order');
    const body = JSON.stringify(Object.fromEntries(Object.entries(makePair('order')).reverse()), null, 2);
    const headers = { ...AS_FIRST, 'idempotency-key': named('order') };
    assertReplay(await api.request('/v1/preferences', { method: 'POST', body, headers }), original);
  });

  test('two callers can use one key, and a caller is known by its API key’s digest', async () => {
    const ids = [];
    for (const [at, caller] of [AS_FIRST, AS_SECOND].entries()) {
      const headers = { ...caller, 'idempotency-key': named('shared') };
      const json = makePair(`shared ${at}`);
      const first = await api.request('/v1/preferences', { json, headers });
      assertReplay(await api.request('/v1/preferences', { json, headers }), first);
      ids.push(first.body.id);
    }
    assert.notEqual(ids[0], ids[1]);
    const rows = await db
      .select()
      .from(idempotency_keys)
      .where(eq(idempotency_keys.key, named('shared')));
    assert.deepEqual(
      new Set(rows.map(({ caller }) => caller)),
      new Set(KEYS.map((key) => `key_${sha256(key).slice(0, 12)}`)),
    );
  });

  test('twenty concurrent requests with one key store one preference', async () => {
    const rater = named('twenty');
    const responses = await Promise.all(Array.from({ length: 20 }, () => vote('twenty', { rater })));
    assert.deepEqual(new Set(responses.map(({ status }) => status)), new Set([200]));
    assert.equal(new Set(responses.map(({ text }) => text)).size, 1);
    assert.equal(await db.$count(preferences, eq(preferences.rater, `user:${rater}`)), 1);
  });

  test('twenty concurrent votes on a comparison with one key count once', async () => {
    const { body } = await api.request('/v1/comparisons', { json: { prompt: 'Once', max_tokens: 2 } });
    const send = () => post('/v1/preferences', { comparison: body.id, choice: 'a', rater: 'twenty' }, 'twenty votes');
    const responses = await Promise.all(Array.from({ length: 20 }, send));
    assert.deepEqual(new Set(responses.map(({ status }) => status)), new Set([200]));
    assert.equal(new Set(responses.map(({ text }) => text)).size, 1);
  });

  test('twenty concurrent requests with one key store one comparison', async () => {
    const user = named('twenty');
    const compare = () => post('/v1/comparisons', { prompt: 'Once', max_tokens: 2, user }, 'twenty');
    const responses = await Promise.all(Array.from({ length: 20 }, compare));
    assert.deepEqual(new Set(responses.map(({ status }) => status)), new Set([200]));
    assert.equal(new Set(responses.map(({ text }) => text)).size, 1);
    assert.equal(await countGenerations(user), 2);
    assertReplay(await compare(), responses[0]!);
  });

  test('an id in the body is an idempotency key, and the header takes precedence', async () => {
    const json = { prompt: 'Once', max_tokens: 4, id: named('my comparison') };
    const first = await api.request('/v1/comparisons', { json, headers: AS_FIRST });
    assertReplay(await api.request('/v1/comparisons', { json, headers: AS_FIRST }), first);
    assert.notEqual((await post('/v1/comparisons', json, 'another')).body.id, first.body.id);
    assert.equal(await db.$count(idempotency_keys, like(idempotency_keys.key, `%${named('my comparison')}`)), 1);
  });

  test('one key can be used for two operations', async () => {
    const comparison = await post('/v1/comparisons', { prompt: 'Once', max_tokens: 2 }, 'both');
    const json = { comparison: comparison.body.id, choice: 'a' };
    const preference = await post('/v1/preferences', json, 'both');
    assert.equal(preference.status, 200);
    assertReplay(await post('/v1/preferences', json, 'both'), preference);
  });

  test('a rejected request does not use up its key', async () => {
    assert.equal((await vote('fixed', { rejected: 'hi' })).status, 400);
    assert.equal((await vote('fixed')).status, 200);
  });

  test('a key has 1 to 255 characters of printable ASCII', async () => {
    const json = makePair('long');
    const send = (key: string) => api.request('/v1/preferences', { json, headers: { 'idempotency-key': key } });
    assert.equal((await send(api.runtime.padEnd(255, '-'))).status, 200);
    const invalid = { empty: '', blank: '  ', long: api.runtime.padEnd(256, '-'), accented: 'clé' };
    for (const [name, key] of Object.entries(invalid)) {
      const response = await send(key);
      assertError(response, 400, name);
      assert.equal(response.body.error.param, 'Idempotency-Key');
      assert.match(response.body.error.message, /^Idempotency-Key /);
      api.record(`a key that is ${name}`, response.body);
    }
  });

  test('a key expires: it can be used again, and others that expired are removed', async () => {
    const old = await vote('old', { rater: 'ann' });
    await vote('forgotten');
    const isOlder = (name: string) => eq(idempotency_keys.key, named(name));
    for (const name of ['old', 'forgotten'])
      await db.update(idempotency_keys).set({ created_at: sql`now() - interval '25 hours'` }).where(isOlder(name));
    const again = await vote('old', { rater: 'bob' });
    assert.equal(again.headers.get('idempotent-replayed'), null);
    assert.notEqual(again.body.id, old.body.id);
    assertReplay(await vote('old', { rater: 'bob' }), again);
    assert.equal(await db.$count(idempotency_keys, isOlder('forgotten')), 0);
  });

  const generating: [string, object][] = [
    ['/v1/chat/completions', { messages, n: 2, seed: 7, logprobs: true, top_logprobs: 2 }],
    ['/v1/completions', { prompt: ['Once', 'Then'], n: 2, seed: 7, logprobs: 2 }],
  ];
  for (const [path, fields] of generating) {
    test(`a repeated request to ${path} gets the stored completion`, async () => {
      const user = named(`whole ${path}`);
      const send = () => post(path, { ...fields, max_tokens: 8, user }, user);
      const original = await send();
      assert.equal(original.status, 200, original.text);
      const stored = await countGenerations(user);
      assertReplay(await send(), original);
      assert.equal(await countGenerations(user), stored);
    });

    test(`a repeated stream of ${path} has the ids and texts of the stored completion`, async () => {
      const user = named(`stream ${path}`);
      const json = { ...fields, max_tokens: 8, user, stream: true, stream_options: { include_usage: true } };
      const original = await post(path, json, user);
      const stored = await countGenerations(user);
      const repeated = await post(path, json, user);
      assert.equal(repeated.headers.get('idempotent-replayed'), 'true');
      assert.deepEqual(summarize(repeated.text), summarize(original.text));
      assert.equal(await countGenerations(user), stored);
    });

    test(`of concurrent streams of ${path} with one key one is stored, and the others say so`, async () => {
      const user = named(`concurrent ${path}`);
      const json = { ...fields, max_tokens: 30, user, stream: true };
      const streams = await Promise.all(Array.from({ length: 4 }, () => post(path, json, user)));
      const complete = streams.filter(({ text }) => text.endsWith('data: [DONE]\n\n'));
      const ids = new Set(complete.map(({ text }) => parseChunks(text)[0].id));
      assert.equal(ids.size, 1);
      for (const { text } of streams.filter((stream) => !complete.includes(stream))) {
        const { error } = JSON.parse(parseEvents(text).at(-1)!.data);
        assert.equal(error.code, 'idempotency_race');
        assert.match(error.message, /repeat this one/);
      }
      const repeated = await post(path, json, user);
      assert.ok(ids.has(parseChunks(repeated.text)[0].id));
      assert.equal(await countGenerations(user), summarize(repeated.text).choices.length);
    });

    test(`a key has no effect on ${path} with store: false, which stores nothing`, async () => {
      const user = named(`unstored ${path}`);
      const send = () => post(path, { ...fields, max_tokens: 4, user, store: false }, user);
      assert.notEqual((await send()).body.id, (await send()).body.id);
      assert.equal(await countGenerations(user), 0);
      assert.equal(await db.$count(idempotency_keys, eq(idempotency_keys.key, user)), 0);
    });
  }

  test('a repeated request for a round queues one', async () => {
    const send = () => post('/v1/rounds', { method: { type: 'dil', dil: { seed: 4711 } } }, 'round');
    const [first, second] = await Promise.all([send(), send()]);
    assert.equal(first.status, 200, first.text);
    assert.equal(first.text, second.text);
    assertReplay(await send(), first);
    const isSame = sql`${rounds.settings} ->> 'seed' = '4711' and ${rounds.id} = ${first.body.id}`;
    assert.equal(await db.$count(rounds, isSame), 1);
    await db.update(rounds).set({ status: 'cancelled', finished_at: new Date() }).where(eq(rounds.id, first.body.id));
  });

  test('a repeated promotion or rollback changes the active policy once', async () => {
    const other = await api.importTiny(40);
    const countOf = (id: string, reason: string) =>
      db.$count(activations, and(eq(activations.policy_id, id), like(activations.reason, reason)));
    const promote = () => post(`/v1/policies/${other}/promote`, {}, 'promote');
    const promoted = await promote();
    assert.equal(promoted.status, 200, promoted.text);
    assertReplay(await promote(), promoted);
    assert.equal(await countOf(other, 'promoted'), 1);

    const rollBack = (name: string) => post('/v1/policies/rollback', {}, name);
    const [first, second] = await Promise.all([rollBack('rollback'), rollBack('rollback')]);
    assert.deepEqual([first.status, first.body.id], [200, server.policyId]);
    assert.equal(second.text, first.text);
    assertReplay(await rollBack('rollback'), first);
    assert.equal(await countOf(server.policyId, `rollback from ${other}`), 1);
  });
}

/** What a stream says, however it is cut into chunks. */
function summarize(text: string): Json {
  const chunks = parseChunks(text);
  const [{ id, created, model, object, system_fingerprint }] = chunks;
  const choices: Json[] = [];
  for (const { index, ...choice } of chunks.flatMap((chunk) => chunk.choices)) {
    choices[index] ??= { text: '', logprobs: [] };
    const all = choices[index];
    all.text += choice.text ?? choice.delta.content ?? '';
    all.generation ??= choice.generation_id;
    all.finish ??= choice.finish_reason;
    all.logprobs.push(...(choice.logprobs?.content ?? choice.logprobs?.token_logprobs ?? []));
  }
  return { id, created, model, object, system_fingerprint, choices, usage: chunks.at(-1).usage };
}
