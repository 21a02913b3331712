import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Json, startEdgeServer } from '../../testing/edge-server.ts';

const server = await startEdgeServer();
const { request } = server;

/** Sides are a few random tokens, so that no two are nearly the same. */
const SETTINGS = { max_tokens: 8, gold_share: 0, repeat_share: 0 };

async function post(path: string, json: object): Promise<Json> {
  const { status, body } = await request(path, { json });
  assert.equal(status, 200, `${path}: ${JSON.stringify(body)}`);
  return body;
}

let queues = 0;
const create = (fields: object = {}) => post('/v1/queues', { name: `queue ${++queues}`, ...SETTINGS, ...fields });

async function importItems(queue: string, rows: (object | string)[]): Promise<Json> {
  const isText = typeof rows[0] === 'string';
  const response = await request(`/v1/queues/${queue}/items`, {
    method: 'POST',
    body: rows.map((row) => (typeof row === 'string' ? row : JSON.stringify(row))).join('\n'),
    headers: { 'content-type': isText ? 'text/plain; charset=utf-8' : 'application/jsonl' },
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
