import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Json, startEdgeServer } from '../../testing/edge-server.ts';

const API_KEY = 'an-admin-key';
const server = await startEdgeServer({ API_KEY });
const admin = { authorization: `Bearer ${API_KEY}` };
const messages = [{ role: 'user', content: 'Once upon a time' }];

const send = (path: string, json: object, headers: Record<string, string> = admin) =>
  server.request(path, { json, headers });

async function post(path: string, json: object, headers?: Record<string, string>): Promise<Json> {
  const { status, body } = await send(path, json, headers);
  assert.equal(status, 200, `${path}: ${JSON.stringify(body)}`);
  return body;
}

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
