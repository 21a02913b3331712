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
