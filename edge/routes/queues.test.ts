import assert from 'node:assert/strict';
import { test } from 'node:test';
import { reserveItem } from '../../shared/queues/reserve.ts';
import { type Json, startEdgeServer } from '../../testing/edge-server.ts';

const server = await startEdgeServer();
const { request, post } = server;

/** Sides are a few random tokens, so that no two are nearly the same. */
const SETTINGS = { max_tokens: 8, gold_share: 0, repeat_share: 0 };

let queues = 0;
const create = (fields: object = {}) => post('/v1/queues', { name: `queue ${++queues}`, ...SETTINGS, ...fields });

async function importItems(queue: string, rows: (object | string)[]): Promise<Json> {
  const isText = typeof rows[0] === 'string';
  const response = await request(`/v1/queues/${queue}/items${isText ? '?format=text' : ''}`, {
    method: 'POST',
    body: rows.map((row) => (typeof row === 'string' ? row : JSON.stringify(row))).join('\n'),
    headers: { 'content-type': 'application/jsonl' },
  });
  return response.body;
}

test('a rater works through a queue, and each vote is a preference in terms of the comparison', async () => {
  const queue = await create({ guidelines: '# Be kind', tags: ['shorter', 'truer'] });
  assert.deepEqual(queue.guidelines, { version: 1, text: '# Be kind' });
  assert.equal(queue.settings.reviews, 1);
  const rows = ['Once', 'Twice', 'Thrice'].map((content) => ({ messages: [{ role: 'user', content }] }));
  assert.deepEqual(await importItems(queue.id, [...rows, rows[0]!]), {
    object: 'queue.import',
    imported: 3,
    duplicates: 1,
    total: 4,
  });
  for (let done = 0; done < 3; done++) {
    const reserved = await post(`/v1/queues/${queue.id}/next`, { rater: 'ann' });
    assert.equal(reserved.state, 'open');
    assert.equal((await post(`/v1/queues/${queue.id}/next`, { rater: 'ann' })).id, reserved.id);
    const vote = {
      choice: 'a',
      strength: 'clearly',
      tags: ['truer'],
      comment: 'why',
      seconds: 2,
      edit: `edit ${done}`,
    };
    const voted = await post(`/v1/reservations/${reserved.id}/vote`, vote);
    assert.deepEqual(
      [voted.state, voted.choice, voted.strength, voted.tags, voted.comment, voted.edit],
      ['voted', 'a', 'clearly', ['truer'], 'why', `edit ${done}`],
    );
    assert.deepEqual((await request(`/v1/reservations/${reserved.id}`)).body, voted);
    const list = (await request('/v1/preferences')).body.data;
    const stored = list.find((row: Json) => row.source === 'comparison');
    assert.equal(stored.chosen.text, reserved.a.text);
    assert.equal(stored.rater, 'user:ann');
    const edited = list.find((row: Json) => row.source === 'demonstration');
    assert.deepEqual([edited.chosen.text, edited.rejected.text], [`edit ${done}`, reserved.a.text]);
  }
  const end = await post(`/v1/queues/${queue.id}/next`, { rater: 'ann' });
  assert.deepEqual([end.id, end.reason], [null, 'done']);
  const progress = (await request(`/v1/queues/${queue.id}/progress?rater=ann`)).body;
  assert.deepEqual(progress.mine, { done: 3, skipped: 0, seconds_median: 2, gold: null });
  assert.deepEqual(progress.team, { done: 3, needed: 3, raters: 1 });
  const { items, reviews } = (await request(`/v1/queues/${queue.id}`)).body;
  assert.deepEqual(items.rated, { pending: 0, open: 0, done: 3, dropped: 0 });
  assert.deepEqual(reviews, { done: 3, needed: 3 });
});

const listItems = async (queue: string): Promise<Json[]> =>
  (await request(`/v1/queues/${queue}/items?limit=100&order=desc`)).body.data;

test('responses that are nearly the same are dropped with the reason, and counted', async () => {
  const queue = await create({ temperature: 0 });
  await importItems(queue.id, ['Once', 'Twice']);
  const end = await post(`/v1/queues/${queue.id}/next`, { rater: 'ann' });
  assert.deepEqual([end.id, end.reason], [null, 'done']);
  const items = await listItems(queue.id);
  for (const { state, reason, comparison } of items)
    assert.deepEqual(
      [state, reason, comparison],
      ['dropped', 'near_identical: the similarity of both responses is 1.00', null],
    );
  const { body } = await request(`/v1/queues/${queue.id}`);
  assert.deepEqual([body.items.rated.dropped, body.reviews], [2, { done: 0, needed: 0 }]);
  const [{ count }] = (await server.connection.sql`
    select count(*)::int as count from reservations where queue_id = ${queue.id} and state <> 'lapsed'`) as [Json];
  assert.equal(count, 0);
  // Other responses, once an operator asks for them.
  await post(`/v1/queues/${queue.id}`, { temperature: 2 });
  await post(`/v1/queues/${queue.id}/requeue`, { items: items.map(({ id }) => id) });
  assert.equal((await post(`/v1/queues/${queue.id}/next`, { rater: 'ann' })).state, 'open');
});

test('a prompt that no policy can take is dropped with the reason, and the next item is given', async () => {
  const queue = await create({ order: 'imported' });
  await importItems(queue.id, [{ prompt: 'Once '.repeat(5000) }, { prompt: 'Once' }]);
  const reserved = await post(`/v1/queues/${queue.id}/next`, { rater: 'ann' });
  assert.equal(reserved.prompt, 'Once');
  const dropped = (await listItems(queue.id)).find(({ state }) => state === 'dropped');
  assert.match(dropped.reason, /^prompt: .*tokens/);
});

test('raters who reserve the same item at once see the same two responses, of one comparison', async () => {
  const queue = await create({ reviews: 4 });
  await importItems(queue.id, ['Once']);
  const shown = await Promise.all(
    ['ann', 'bob', 'cid', 'dan'].map((rater) => post(`/v1/queues/${queue.id}/next`, { rater })),
  );
  assert.equal(new Set(shown.map(({ id }) => id)).size, 4);
  assert.equal(new Set(shown.map(({ a, b }) => JSON.stringify([a.text, b.text].sort()))).size, 1);
  const [counts] = (await server.connection.sql`
    select count(distinct comparisons.id)::int as comparisons, count(distinct completion_id)::int as completions
    from comparisons join generations on generations.id in (a_generation_id, b_generation_id)
    where queue_id = ${queue.id}`) as [Json];
  assert.deepEqual({ ...counts }, { comparisons: 1, completions: 1 });
  for (const { id } of shown) await post(`/v1/reservations/${id}/vote`, { choice: 'a' });
  const [item] = await listItems(queue.id);
  assert.deepEqual([item.state, item.reviews, item.votes.a + item.votes.b], ['done', 4, 4]);
});

test('a server that dies between reserving an item and generating its responses costs nothing but time', async () => {
  const queue = await create();
  await importItems(queue.id, ['Once']);
  const die = async (queueId: string) => {
    const owner = { tenant: 'default', created_by: 'anonymous' };
    const result = await reserveItem(server.connection.db, queueId, 'user:ann', owner);
    assert.ok(result && 'reservation' in result);
    return result.reservation.id;
  };
  const reserved = await die(queue.id);
  const early = await request(`/v1/reservations/${reserved}`);
  assert.deepEqual([early.status, early.body.error.code], [409, 'not_generated']);
  // Who comes back gets the responses now.
  assert.equal((await post(`/v1/queues/${queue.id}/next`, { rater: 'ann' })).id, reserved);

  const other = await create();
  await importItems(other.id, ['Once']);
  const lost = await die(other.id);
  assert.equal((await post(`/v1/queues/${other.id}/next`, { rater: 'bob' })).reason, 'empty');
  await server.connection.sql`update reservations set expires_at = now() - interval '1 second' where id = ${lost}`;
  const taken = await post(`/v1/queues/${other.id}/next`, { rater: 'bob' });
  assert.equal(taken.state, 'open');
  const late = await request(`/v1/reservations/${lost}/vote`, { json: { choice: 'a' } });
  assert.deepEqual([late.status, late.body.error.code], [409, 'reservation_lapsed']);
});

test('two policies meet, or a given response and a fresh one, and the rater is told after the vote only', async () => {
  const second = await server.importTiny(2);
  const policies = [server.policyId, second];
  const queue = await create({ pairing: { type: 'policies', policies }, reveal: true });
  await importItems(queue.id, ['Once']);
  const meet = await post(`/v1/queues/${queue.id}/next`, { rater: 'ann' });
  assert.doesNotMatch(JSON.stringify(meet), /pol_/);
  const voted = await post(`/v1/reservations/${meet.id}/vote`, { choice: 'both_bad' });
  assert.deepEqual([voted.policies.a, voted.policies.b].sort(), policies.sort());

  const given = await create({ pairing: { type: 'given', policy: second }, reveal: true });
  const refused = await importItems(given.id, ['Once']);
  assert.match(refused.error.message, /row 1: given: is missing/);
  await importItems(given.id, [{ prompt: 'Once', given: 'a response from elsewhere' }]);
  const fresh = await post(`/v1/queues/${given.id}/next`, { rater: 'ann' });
  const side = fresh.a.text === 'a response from elsewhere' ? 'a' : 'b';
  assert.equal(fresh[side].text, 'a response from elsewhere');
  const chosen = await post(`/v1/reservations/${fresh.id}/vote`, { choice: side });
  assert.deepEqual([chosen.policies[side], Object.values(chosen.policies).sort()], ['given', ['given', second]]);
  const [preference] = (await request('/v1/preferences?limit=1')).body.data;
  assert.equal(preference.chosen.text, 'a response from elsewhere');
  const change = await request(`/v1/queues/${given.id}`, { json: { pairing: { type: 'same' } } });
  assert.deepEqual([change.status, change.body.error.param], [400, 'pairing']);
});

test('more or fewer reviews open items again, or finish them', async () => {
  const queue = await create({ reviews: 2 });
  await importItems(queue.id, [
    { prompt: 'x', a: 'one', b: 'two' },
    { prompt: 'y', a: 'one', b: 'two' },
  ]);
  const { id } = await post(`/v1/queues/${queue.id}/next`, { rater: 'ann' });
  await post(`/v1/reservations/${id}/vote`, { choice: 'a' });
  const listStates = async () => (await listItems(queue.id)).map(({ state }) => state).sort();
  assert.deepEqual(await listStates(), ['open', 'open']);
  await post(`/v1/queues/${queue.id}`, { reviews: 1 });
  assert.deepEqual(await listStates(), ['done', 'open']);
  await post(`/v1/queues/${queue.id}`, { reviews: 3 });
  assert.deepEqual(await listStates(), ['open', 'open']);
});
