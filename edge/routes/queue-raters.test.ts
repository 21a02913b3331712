// What a rater learns of a queue, and how its items are voted on by nothing but their reservations.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Json, startEdgeServer } from '../../testing/edge-server.ts';

const server = await startEdgeServer({ API_KEY: 'admin-key-of-the-test' });

type Reply = { status: number; body: Json };
const sendAs =
  (key: string) =>
  (path: string, json?: object): Promise<Reply> =>
    server.request(path, { ...(json && { json }), headers: { authorization: `Bearer ${key}` } });
const admin = sendAs('admin-key-of-the-test');

async function ok(reply: Promise<Reply>): Promise<Json> {
  const { status, body } = await reply;
  assert.equal(status, 200, JSON.stringify(body));
  return body;
}

let names = 0;
async function createKey(scopes: string[], fields: object = {}) {
  const { id, key } = await ok(admin('/v1/keys', { name: `key ${++names}`, scopes, ...fields }));
  return { id: id as string, send: sendAs(key) };
}

async function create(fields: object, rows: object[]): Promise<string> {
  const shares = { gold_share: 0, repeat_share: 0, max_tokens: 8 };
  const { id } = await ok(admin('/v1/queues', { name: `queue ${++names}`, ...shares, ...fields }));
  const { status } = await server.request(`/v1/queues/${id}/items`, {
    method: 'POST',
    body: rows.map((row) => JSON.stringify(row)).join('\n'),
    headers: { authorization: 'Bearer admin-key-of-the-test', 'content-type': 'application/jsonl' },
  });
  assert.equal(status, 200);
  return id;
}

const rated = (at: number) => ({ prompt: `prompt ${at}`, a: `left ${at}`, b: `right ${at}` });
const gold = (at: number) => ({ ...rated(at), prompt: `gold ${at}`, kind: 'gold', expected: 'a' });
const list = <T>(count: number, make: (at: number) => T) => Array.from({ length: count }, (_, at) => make(at));

test('a rater is not told how many items measure raters, what they may get wrong, or who else rates', async () => {
  const { id: rater, send } = await createKey(['rate']);
  const settings = { raters: [rater], calibration: { items: 2, accuracy: 0.7 }, tags: ['short'] };
  const id = await create(settings, [rated(1), gold(1)]);
  for (const seen of [
    await ok(send(`/v1/queues/${id}`)),
    (await ok(send('/v1/queues?limit=100'))).data.find((queue: Json) => queue.id === id),
  ]) {
    assert.deepEqual([seen.items, seen.reviews], [null, null]);
    const { gold_share, repeat_share, pause, raters, calibration, tags } = seen.settings;
    assert.deepEqual([gold_share, repeat_share, pause, raters], [null, null, null, null]);
    assert.deepEqual([calibration, tags], [{ items: 2, accuracy: null }, ['short']]);
  }
  const all = await ok(admin(`/v1/queues/${id}`));
  assert.deepEqual([all.items.gold, all.settings.raters], [1, [rater]]);
});

test('whoever may not rate in a queue does not see its progress either', async () => {
  const { send } = await createKey(['rate']);
  const id = await create({ raters: ['user:else'] }, [rated(1)]);
  for (const path of [`/v1/queues/${id}`, `/v1/queues/${id}/progress`]) assert.equal((await send(path)).status, 404);
  const backend = await createKey(['feedback']);
  assert.equal((await backend.send(`/v1/queues/${id}/progress?rater=ann`)).status, 404);
  assert.equal((await backend.send(`/v1/queues/${id}/progress?rater=else`)).status, 200);
});

test('the comparisons of a queue are for callers who may read everything', async () => {
  const { send } = await createKey(['rate', 'generate']);
  const id = await create({ reveal: true }, [rated(1)]);
  const [{ comparison }] = (await ok(admin(`/v1/queues/${id}/items`))).data;
  const own = await ok(send('/v1/comparisons', { prompt: 'Once', max_tokens: 4 }));
  assert.equal((await send(`/v1/comparisons/${comparison}`)).status, 404);
  assert.deepEqual(
    (await ok(send('/v1/comparisons'))).data.map((row: Json) => row.id),
    [own.id],
  );
  assert.equal((await ok(admin(`/v1/comparisons/${comparison}`))).queue, id);
});

test('gold items look like others before the vote, by the progress after it, and to whoever has rows to store left', async () => {
  const { id: key, send } = await createKey(['rate'], { rows_per_day: 100 });
  for (const [shares, purpose] of [
    [{ gold_share: 0 }, 'vote'],
    [{ gold_share: 1 }, 'gold'],
  ] as const) {
    const id = await create(shares, [...list(6, rated), ...list(3, gold)]);
    const shown = await ok(send(`/v1/queues/${id}/next`, {}));
    assert.deepEqual([Object.keys(shown.a), Object.keys(shown.b)], [['text'], ['text']]);
    await ok(send(`/v1/reservations/${shown.id}/vote`, { choice: 'a', seconds: 2 }));
    const before = await ok(send(`/v1/queues/${id}/progress`));
    const { id: reserved } = await ok(send(`/v1/queues/${id}/next`, {}));
    await ok(send(`/v1/reservations/${reserved}/vote`, { choice: 'b', seconds: 2 }));
    const after = await ok(send(`/v1/queues/${id}/progress`));
    assert.deepEqual(
      [before.team.done, before.seconds_left_mine, after.team.done, after.seconds_left_mine, after.team.needed],
      [1, 10, 2, 8, 6],
      purpose,
    );
    const { id: skipped } = await ok(send(`/v1/queues/${id}/next`, {}));
    await ok(send(`/v1/reservations/${skipped}/vote`, { choice: 'skip' }));
    const last = await ok(send(`/v1/queues/${id}/progress`));
    assert.deepEqual([last.team.done, last.seconds_left_mine], [2, 6], purpose);
    const [counts] = (await server.connection.sql`
      select count(*)::int as measuring from reservations where queue_id = ${id} and purpose = ${purpose}`) as [Json];
    assert.equal(counts.measuring, 3);
  }
  const [usage] = (await server.connection.sql`select rows from key_usage where key_id = ${key}`) as [Json];
  assert.equal(usage.rows, 4);
});

test('a reservation whose responses cannot be generated or stored leaves its place to others', async () => {
  const { send } = await createKey(['rate'], { rows_per_day: 1 });
  const spent = await ok(send('/v1/comparisons', { prompt: 'Once', max_tokens: 4 }));
  assert.ok(spent.id);
  const id = await create({}, [{ prompt: 'Once' }]);
  assert.equal((await send(`/v1/queues/${id}/next`, {})).status, 429);
  const other = await createKey(['rate']);
  assert.equal((await ok(other.send(`/v1/queues/${id}/next`, {}))).state, 'open');
});

test('the two responses of a queue’s item are not voted on by their ids', async () => {
  const { send } = await createKey(['rate', 'feedback', 'read']);
  const id = await create({ order: 'imported' }, [{ prompt: 'Once' }, rated(1), gold(1)]);
  await ok(send(`/v1/queues/${id}/next`, {}));
  const free = await ok(send('/v1/comparisons', { prompt: 'Once', max_tokens: 4 }));
  await ok(send('/v1/preferences', { comparison: free.id, choice: 'a', rater: 'eve' }));
  const { a: another } = await ok(send(`/v1/comparisons/${free.id}`));
  const sides = (await server.connection.sql`
    select a_generation_id as a, b_generation_id as b from comparisons where queue_id = ${id} order by id desc`) as Json;
  assert.equal(sides.length, 3);
  const pairs = sides.map(({ a, b }: Json) => ({ chosen: b, rejected: a }));
  for (const pair of [...pairs, { chosen: another.generation, rejected: sides[0].a }]) {
    const { status, body } = await send('/v1/preferences', pair);
    assert.deepEqual([status, body.error.code], [409, 'queued_comparison']);
  }
});

test('a rater who voted on a comparison does not vote on its two responses again by their ids, nor the other way round', async () => {
  const { send } = await createKey(['rate', 'feedback', 'read']);
  for (const isFirst of [true, false]) {
    const made = await ok(send('/v1/comparisons', { prompt: 'Once', max_tokens: 4 }));
    const [{ a, b }] = (await server.connection.sql`
      select a_generation_id as a, b_generation_id as b from comparisons where id = ${made.id}`) as unknown as [Json];
    const votes = [
      { comparison: made.id, choice: 'a', rater: 'ann' },
      { chosen: b, rejected: a, rater: 'ann' },
    ];
    const [one, other] = isFirst ? votes : votes.toReversed();
    const vote = await ok(send('/v1/preferences', one));
    const refused = await send('/v1/preferences', other);
    assert.deepEqual([refused.status, refused.body.error.code], [409, 'already_voted']);
    assert.equal((await send('/v1/preferences', { ...other, rater: 'bob' })).status, 200);
    await server.request(`/v1/preferences/${vote.id}`, {
      method: 'DELETE',
      headers: { authorization: 'Bearer admin-key-of-the-test' },
    });
    assert.equal((await send('/v1/preferences', other)).status, 200);
  }
});
