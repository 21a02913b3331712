import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Json, startEdgeServer } from '../../testing/edge-server.ts';

const API_KEY = 'an-admin-key';
const server = await startEdgeServer({ API_KEY });
const admin = { authorization: `Bearer ${API_KEY}` };
const messages = [{ role: 'user', content: 'Once upon a time' }];

const send = (path: string, json: object, headers: Record<string, string> = admin) =>
  server.request(path, { json, headers });

const post = (path: string, json: object, headers: Record<string, string> = admin) => server.post(path, json, headers);

const generate = async (): Promise<string> => (await post('/v1/chat/completions', { messages, max_tokens: 4 })).id;

test('a score too small for a real number is 0', async () => {
  const generation = await generate();
  for (const score of [1e-46, 1e-40]) assert.equal((await post('/v1/feedback', { generation, score })).score, 0);
});

test('feedback of one key stays its own, whoever it names', async () => {
  const generation = await generate();
  const [first, second] = await Promise.all(
    ['first', 'second'].map(async (name) => {
      const { key } = await post('/v1/keys', { name, scopes: ['feedback'] });
      return { authorization: `Bearer ${key}` };
    }),
  );
  const mine = await post('/v1/feedback', { generation, comment: 'between us', demonstration: 'Mine.' }, first);
  const other = await post('/v1/feedback', { generation, thumb: 1 }, second);
  assert.notEqual(other.id, mine.id);
  assert.deepEqual([other.comment, other.demonstration], [null, null]);
  assert.equal((await post('/v1/feedback', { generation, thumb: -1 }, first)).id, mine.id);
  const remove = (id: string, headers?: Record<string, string>) =>
    server.request(`/v1/feedback/${id}`, { method: 'DELETE', headers: headers! });
  assert.equal((await remove(mine.id, second)).status, 404);
  assert.equal((await remove(mine.id, first)).status, 200);
});

test('a response that a queue shows takes no feedback', async () => {
  const queue = await post('/v1/queues', { name: 'gold', gold_share: 0, repeat_share: 0 });
  const headers = { ...admin, 'content-type': 'application/jsonl' };
  const body = JSON.stringify({ prompt: 'Once', a: 'good', b: 'bad', kind: 'gold', expected: 'a' });
  await server.request(`/v1/queues/${queue.id}/items`, { method: 'POST', body, headers });
  const [row] = (await server.connection.sql`
    select a_generation_id as a, b_generation_id as b from comparisons where queue_id = ${queue.id}`) as [Json];
  for (const generation of [row.a, row.b]) {
    const refused = await send('/v1/feedback', { generation, demonstration: 'Better.' });
    assert.deepEqual(
      [refused.status, refused.body.error.code, refused.body.error.param],
      [409, 'queued_comparison', 'generation'],
    );
  }
});

test('an edit is not given again as a better response, nor the other way', async () => {
  const compare = async (): Promise<Json> => {
    const { id } = await post('/v1/comparisons', { messages, max_tokens: 4 });
    const [row] = (await server.connection.sql`
      select a_generation_id as generation from comparisons where id = ${id}`) as [Json];
    return { id, generation: row.generation };
  };
  const first = await compare();
  const edited = { choice: 'a', edit: 'The best.', rater: 'ann' };
  await post('/v1/preferences', { comparison: first.id, ...edited });
  const shown = { generation: first.generation, demonstration: 'The best.' };
  const again = await send('/v1/feedback', { ...shown, rater: 'ann' });
  assert.deepEqual([again.status, again.body.error.code], [409, 'already_given'], JSON.stringify(again.body));
  await post('/v1/feedback', { ...shown, rater: 'bob' });
  await post('/v1/feedback', { ...shown, demonstration: 'Another one.', rater: 'ann' });

  const second = await compare();
  await post('/v1/feedback', { generation: second.generation, demonstration: 'The best.', rater: 'ann' });
  const voted = await send('/v1/preferences', { comparison: second.id, ...edited });
  assert.deepEqual([voted.status, voted.body.error.param], [409, 'edit'], JSON.stringify(voted.body));
  await post('/v1/preferences', { comparison: second.id, ...edited, edit: 'A third one.' });
});
