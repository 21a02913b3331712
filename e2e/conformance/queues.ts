// Queues: filled, worked through by raters, requeued and exported. What raters are shown, and what they may not do.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import type { Json } from '../../testing/edge-server.ts';
import type { Api } from './api.ts';
import { assertError } from './errors.ts';
import { openRaterSession } from './open-session.ts';

export function testQueues(api: Api): void {
  const tenant = `queues.${api.runtime}`;
  let headers: Record<string, string>;

  before(async () => {
    const json = { name: 'queues', scopes: ['operate', 'feedback', 'read', 'generate'], tenant };
    headers = { authorization: `Bearer ${(await api.request('/v1/keys', { json })).body.key}` };
  });

  const send = (path: string, json?: Json, init: object = {}) =>
    api.request(path, { headers, ...(json === undefined ? {} : { json }), ...init });
  const post = async (path: string, json: Json): Promise<Json> => {
    const { status, body, text } = await send(path, json);
    assert.equal(status, 200, `${path}: ${text}`);
    return body;
  };
  let queues = 0;
  const create = (fields: Json = {}) =>
    post('/v1/queues', { name: `queue ${++queues}`, max_tokens: 8, gold_share: 0, repeat_share: 0, ...fields });
  const fill = (id: string, rows: Json[]) =>
    send(`/v1/queues/${id}/items`, undefined, {
      method: 'POST',
      body: rows.map((row) => JSON.stringify(row)).join('\n'),
      headers: { ...headers, 'content-type': 'application/jsonl' },
    });
  const next = (id: string, rater: string) => post(`/v1/queues/${id}/next`, { rater });
  const given = (at: number) => ({ prompt: `prompt ${at}`, a: `left ${at}`, b: `right ${at}` });

  test('a queue is created with all its settings, changed and listed, and keeps each version of its guidelines', async () => {
    const queue = await create({ guidelines: 'one', reviews: 2, tags: ['short'], reveal: true });
    assert.match(queue.id, /^que_[0-9a-f]{32}$/);
    assert.deepEqual([queue.status, queue.guidelines], ['open', { version: 1, text: 'one' }]);
    assert.deepEqual(queue.settings.calibration, { items: 0, accuracy: 0.6 });
    const changed = await post(`/v1/queues/${queue.id}`, { guidelines: 'two', reviews: 1 });
    assert.deepEqual(changed.guidelines, { version: 2, text: 'two' });
    assert.deepEqual(changed.settings, { ...queue.settings, reviews: 1 });
    assert.deepEqual((await send(`/v1/queues/${queue.id}`)).body, changed);
    assert.ok((await send('/v1/queues?limit=100')).body.data.some(({ id }: Json) => id === queue.id));
    const closed = await post(`/v1/queues/${queue.id}`, { status: 'closed' });
    assert.equal(closed.status, 'closed');
    assert.equal((await next(queue.id, 'ann')).reason, 'closed');
  });

  test('fifty raters at once, some of whom skip or change their minds: each item has its reviews exactly', async () => {
    const queue = await create({ reviews: 3 });
    await fill(
      queue.id,
      Array.from({ length: 20 }, (_, at) => ({ ...given(at), group: `group ${at % 2}` })),
    );
    const seen = new Map<string, Set<string>>();
    const work = async (at: number) => {
      const rater = `rater ${at}`;
      const own = new Set<string>();
      seen.set(rater, own);
      while (true) {
        const reserved = await next(queue.id, rater);
        if (reserved.id === null && reserved.reason === 'done') return;
        // Others have what is left, and one of them may skip it.
        if (reserved.id === null) {
          const { team } = (await send(`/v1/queues/${queue.id}/progress?rater=${encodeURIComponent(rater)}`)).body;
          if (team.done === team.needed || own.size > 0) return;
          await setTimeout(50);
          continue;
        }
        assert.ok(!own.has(reserved.prompt), `${rater} was given ${reserved.prompt} twice`);
        own.add(reserved.prompt);
        const vote = (choice: string) => post(`/v1/reservations/${reserved.id}/vote`, { choice });
        if (at % 10 === 0) await vote('skip');
        else {
          await vote('a');
          if (at % 3 === 0) await vote('tie');
        }
      }
    };
    await Promise.all(Array.from({ length: 50 }, (_, at) => work(at)));
    const { items, reviews } = (await send(`/v1/queues/${queue.id}`)).body;
    assert.deepEqual([items.rated.done, reviews], [20, { done: 60, needed: 60 }]);
    const { data } = (await send(`/v1/queues/${queue.id}/items?limit=100`)).body;
    for (const { votes } of data) assert.equal(votes.a + votes.b + votes.tie + votes.both_bad, 3);
    assert.ok([...seen.values()].filter(({ size }) => size > 0).length > 10);
  });

  test('sides are generated when an item is reserved, and a vote is in terms of the sides as shown', async () => {
    const queue = await create({ reveal: true });
    const prompts = ['Once', 'Twice'].map((content) => ({ messages: [{ role: 'user', content }] }));
    assert.deepEqual((await fill(queue.id, prompts)).body, {
      object: 'queue.import',
      imported: 2,
      duplicates: 0,
      total: 2,
    });
    for (const choice of ['a', 'b']) {
      const reserved = await next(queue.id, 'ann');
      assert.deepEqual([reserved.state, reserved.purpose, reserved.policies], ['open', 'vote', null]);
      assert.equal((await next(queue.id, 'ann')).id, reserved.id);
      const heartbeat = await post(`/v1/reservations/${reserved.id}/heartbeat`, {});
      assert.ok(heartbeat.expires_at >= reserved.expires_at);
      const vote = { choice, strength: 'much', tags: ['x'], comment: 'c', seconds: 3, edit: 'a better text' };
      const voted = await post(`/v1/reservations/${reserved.id}/vote`, vote);
      assert.deepEqual(
        [voted.state, voted.choice, voted.strength, voted.tags, voted.comment, voted.edit],
        ['voted', choice, 'much', ['x'], 'c', 'a better text'],
      );
      assert.match(voted.policies.a, /^pol_/);
      const over = await send(`/v1/reservations/${reserved.id}/heartbeat`, {});
      assertError(over, 409);
      assert.equal(over.body.error.code, 'already_voted');
      assert.deepEqual((await send(`/v1/reservations/${reserved.id}`)).body, voted);
      const { data } = (await send('/v1/preferences?limit=2')).body;
      const [preference, edit] = data.toSorted((one: Json, other: Json) => one.source.localeCompare(other.source));
      assert.equal(preference.chosen.text, reserved[choice].text);
      assert.deepEqual([preference.queue, preference.demonstration], [queue.id, edit.id]);
      assert.equal(edit.chosen.text, 'a better text');
      for (const [path, json] of [
        [`/v1/preferences/${preference.id}`, { choice: 'tie' }],
        ['/v1/preferences', { comparison: preference.comparison, choice: 'a', rater: 'bob' }],
      ] as const) {
        const refused = await send(path, json);
        assertError(refused, 409);
        assert.equal(refused.body.error.code, 'queued_comparison');
      }
    }
    assert.equal((await next(queue.id, 'ann')).reason, 'done');
    const progress = (await send(`/v1/queues/${queue.id}/progress?rater=ann`)).body;
    assert.deepEqual(progress, {
      object: 'queue_progress',
      mine: { done: 2, skipped: 0, seconds_median: 3, gold: null },
      team: { done: 2, needed: 2, raters: 1 },
      seconds_left_mine: 0,
      paused: null,
      calibration: null,
    });
  });

  test('a vote is changed, undone and skipped, and the skipped item goes to others until it is requeued', async () => {
    const queue = await create();
    await fill(queue.id, [given(1)]);
    const reserved = await next(queue.id, 'ann');
    const path = `/v1/reservations/${reserved.id}/vote`;
    assert.deepEqual([reserved.a.text, reserved.b.text].toSorted(), ['left 1', 'right 1']);
    assert.equal((await post(path, { choice: 'a' })).choice, 'a');
    assert.equal((await post(path, { choice: 'tie' })).choice, 'tie');
    const undone = await send(path, undefined, { method: 'DELETE' });
    assert.deepEqual([undone.body.state, undone.body.choice], ['open', null]);
    assert.equal((await post(path, { choice: 'skip' })).state, 'skipped');
    assert.equal((await next(queue.id, 'ann')).reason, 'empty');
    const [item] = (await send(`/v1/queues/${queue.id}/items`)).body.data;
    assert.deepEqual([item.skips, item.votes.skip], [1, 1]);
    assert.deepEqual(await post(`/v1/queues/${queue.id}/requeue`, { skipped: true }), {
      object: 'queue.requeue',
      items: 1,
    });
    const again = await next(queue.id, 'ann');
    assert.notEqual(again.id, reserved.id);
    await post(`/v1/reservations/${again.id}/vote`, { choice: 'both_bad' });
    assert.equal((await next(queue.id, 'bob')).reason, 'done');
    await post(`/v1/queues/${queue.id}/requeue`, { rater: 'user:ann' });
    assert.equal((await next(queue.id, 'ann')).reason, 'empty');
    const other = await next(queue.id, 'bob');
    await post(`/v1/reservations/${other.id}/vote`, { choice: 'a' });
    await post(`/v1/queues/${queue.id}/requeue`, { items: [item.id] });
    const open = (await send(`/v1/queues/${queue.id}/items?state=open&kind=rated&split=true`)).body.data;
    assert.deepEqual([open[0].reviews, open[0].votes.both_bad], [0, 1]);
    // A change of a vote that no longer counts does not count it again.
    await post(`/v1/reservations/${other.id}/vote`, { choice: 'b' });
    assert.equal((await send(`/v1/queues/${queue.id}/items`)).body.data[0].reviews, 0);
    const lines = (await send(`/v1/queues/${queue.id}/export`)).text.trim().split('\n');
    const [exported] = lines.map((line) => JSON.parse(line));
    assert.deepEqual(
      exported.votes.map(({ rater, choice }: Json) => [rater, choice === 'both_bad']),
      [
        ['user:ann', true],
        ['user:bob', false],
      ],
    );
    assert.deepEqual([exported.a.text, exported.b.text], ['left 1', 'right 1']);
  });

  test('what a queue asks of a vote is enforced', async () => {
    const queue = await create({ strength: 'required', tags: ['short', 'true'], edits: false });
    await fill(queue.id, [given(1)]);
    const { id } = await next(queue.id, 'ann');
    for (const [json, param] of [
      [{ choice: 'a' }, 'strength'],
      [{ choice: 'a', strength: 'much', tags: ['long'] }, 'tags'],
      [{ choice: 'a', strength: 'much', edit: 'x' }, 'edit'],
      [{ choice: 'tie', strength: 'much' }, 'strength'],
      [{ choice: 'skip', edit: 'much' }, 'edit'],
      [{ choice: 'c' }, 'choice'],
      [{ choice: 'tie', seconds: -1 }, 'seconds'],
    ] as const) {
      const refused = await send(`/v1/reservations/${id}/vote`, json);
      assertError(refused, 400, JSON.stringify(json));
      assert.equal(refused.body.error.param, param);
    }
    await post(`/v1/reservations/${id}/vote`, { choice: 'tie', tags: ['short'] });
    const off = await create({ strength: 'off' });
    await fill(off.id, [given(1)]);
    const other = await next(off.id, 'ann');
    const refused = await send(`/v1/reservations/${other.id}/vote`, { choice: 'a', strength: 'much' });
    assert.equal(refused.body.error.param, 'strength');
  });

  test('a rater who signed in sees the open queues that they may rate in, and votes as themself', async () => {
    const { cookie, rater } = await openRaterSession(api, { tenant, skills: ['law'] });
    const by = { headers: { authorization: '', cookie } };
    const [law, open, own] = [
      await create({ skills: ['law'] }),
      await create(),
      await create({ raters: [rater.id], reviews: 2 }),
    ];
    const [closed, code] = [await create(), await create({ skills: ['code'] })];
    await post(`/v1/queues/${closed.id}`, { status: 'closed' });
    const seen = (await send('/v1/queues?limit=100', undefined, by)).body.data.map(({ id }: Json) => id);
    for (const { id } of [law, open, own]) assert.ok(seen.includes(id));
    for (const { id } of [closed, code]) assert.ok(!seen.includes(id));
    assertError(await send(`/v1/queues/${code.id}`, undefined, by), 404);
    assert.equal((await send(`/v1/queues/${own.id}`, undefined, by)).status, 200);
    await fill(own.id, [given(1)]);
    const { body: reserved } = await send(`/v1/queues/${own.id}/next`, {}, by);
    const voted = await send(`/v1/reservations/${reserved.id}/vote`, { choice: 'a', edit: 'better' }, by);
    assert.equal(voted.status, 200, voted.text);
    const [preference] = (await send('/v1/preferences?limit=1')).body.data;
    assert.deepEqual([preference.rater, preference.trust], [rater.id, 'rated']);
    // Nobody else's reservation is read or voted on.
    for (const [path, json] of [
      [`/v1/reservations/${reserved.id}`, undefined],
      [`/v1/reservations/${reserved.id}/vote`, { choice: 'a' }],
      [`/v1/reservations/${reserved.id}/heartbeat`, {}],
    ] as const)
      assertError(await send(path, json), 404);
    const paused = await post(`/v1/queues/${own.id}/raters/${rater.id}/pause`, { reason: 'talk to me' });
    assert.deepEqual(paused.paused, { reason: 'talk to me' });
    const refused = await send(`/v1/queues/${own.id}/next`, {}, by);
    assert.deepEqual([refused.body.reason, refused.body.message], ['paused', 'talk to me']);
    assert.deepEqual((await send(`/v1/queues/${own.id}/progress`, undefined, by)).body.paused, paused.paused);
    assert.equal((await post(`/v1/queues/${own.id}/raters/${rater.id}/resume`, {})).paused, null);
    assertError(await send(`/v1/queues/${own.id}/raters/rater_none/pause`, {}), 404);
  });

  test('prompts are drawn from what the tenant has stored, each once, and the same ones for a seed', async () => {
    const user = `drawn ${api.runtime}`;
    // Greedy: a sampled response is empty now and then, and is not drawn.
    for (const content of ['Once', 'Twice', 'Once'])
      await post('/v1/chat/completions', {
        messages: [{ role: 'user', content }],
        max_tokens: 3,
        temperature: 0,
        user,
      });
    const queue = await create({ pairing: { type: 'given' } });
    const draw = { count: 10, user, seed: 1, since: 0, policy: api.server.policyId };
    const report = await post(`/v1/queues/${queue.id}/draw`, draw);
    assert.deepEqual(report, { object: 'queue.draw', found: 3, sampled: 3, duplicates: 1 });
    const again = await post(`/v1/queues/${queue.id}/draw`, draw);
    assert.deepEqual([again.sampled, again.duplicates], [3, 3]);
    const none = await post(`/v1/queues/${queue.id}/draw`, { count: 5, user, until: 1 });
    assert.deepEqual([none.found, none.sampled, none.duplicates], [0, 0, 0]);
    assert.equal((await next(queue.id, 'ann')).state, 'open');
  });

  test('invalid fields and rows are named, and nothing is imported', async () => {
    const queue = await create();
    const cases: [string, Json, string | null, RegExp][] = [
      ['/v1/queues', { name: ' ' }, 'name', /say what the queue is for/],
      ['/v1/queues', { name: 'x', reviews: 0 }, 'reviews', /./],
      ['/v1/queues', { name: 'x', pairing: { type: 'none' } }, 'pairing.type', /./],
      ['/v1/queues', { name: 'x', review: 1 }, 'review', /unknown field/],
      [`/v1/queues/${queue.id}`, {}, null, /give name, status, guidelines or a setting/],
      [`/v1/queues/${queue.id}/draw`, {}, 'count', /./],
      [`/v1/queues/${queue.id}/requeue`, {}, null, /give items, skipped or rater/],
      [`/v1/queues/${queue.id}/next`, { rater: 'rater_x' }, 'rater', /Attune adds user: itself/],
    ];
    for (const [path, json, param, message] of cases) {
      const refused = await send(path, json);
      assertError(refused, 400, `${path} ${JSON.stringify(json)}`);
      assert.equal(refused.body.error.param, param);
      assert.match(refused.body.error.message, message);
    }
    const taken = await send('/v1/queues', { name: queue.name });
    assertError(taken, 409);
    assert.equal(taken.body.error.code, 'name_taken');
    assertError(await send(`/v1/queues/${queue.id}/requeue`, { items: ['item_none'] }), 404);
    for (const [rows, message] of [
      [[given(1), { prompt: '' }], /^row 2: the prompt is empty/],
      [[{ prompt: 'x', given: 'y' }], /^row 1: given: this queue does not compare/],
      [[{ prompt: 'x', expected: 'a' }], /^row 1: a, b: are missing/],
      [[{ prompt: 'x', a: 'y', b: 'y' }], /^row 1: b: equals a/],
      [[{ prompt: 'x', a: 'y' }], /^row 1: a, b: give both/],
      [[{ prompt: 'x', expect: 'a' }], /^row 1: unknown field "expect"/],
      [['x'], /^row 1: is "x"; each row must be an object/],
    ] as const) {
      const refused = await fill(queue.id, [...rows]);
      assertError(refused, 400, JSON.stringify(rows));
      assert.match(refused.body.error.message, message);
    }
    assert.deepEqual((await send(`/v1/queues/${queue.id}/items`)).body.data, []);
    const init = {
      method: 'POST',
      body: 'Once\n\n Twice\nOnce',
      headers: { ...headers, 'content-type': 'text/plain' },
    };
    const { body } = await send(`/v1/queues/${queue.id}/items`, undefined, init);
    assert.deepEqual([body.imported, body.duplicates], [2, 1]);
  });
}
