import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Json, startEdgeServer } from '../../testing/edge-server.ts';

const API_KEY = 'an-admin-key';
const server = await startEdgeServer({ API_KEY });
const admin = { authorization: `Bearer ${API_KEY}` };

const send = (path: string, json: object, headers: Record<string, string> = admin) =>
  server.request(path, { json, headers });

const post = (path: string, json: object, headers: Record<string, string> = admin) => server.post(path, json, headers);

/** A queue of pairs of given responses. */
async function createQueue(name: string, count = 3): Promise<string> {
  const { id } = await post('/v1/queues', { name, gold_share: 0, repeat_share: 0 });
  const rows = Array.from({ length: count }, (_, at) => ({
    prompt: `Once ${at}`,
    a: `first ${at}`,
    b: `second ${at}`,
  }));
  const body = rows.map((row) => JSON.stringify(row)).join('\n');
  const headers = { ...admin, 'content-type': 'application/jsonl' };
  const imported = await server.request(`/v1/queues/${id}/items`, { method: 'POST', body, headers });
  assert.equal(imported.body.imported, count);
  return id;
}

test('a key that only rates writes no better text through a reservation', async () => {
  const queue = await createQueue('edits');
  const { key } = await post('/v1/keys', { name: 'rates', scopes: ['rate'] });
  const headers = { authorization: `Bearer ${key}` };
  const { id } = await post(`/v1/queues/${queue}/next`, {}, headers);
  const refused = await send(`/v1/reservations/${id}/vote`, { choice: 'a', edit: 'a better text' }, headers);
  assert.deepEqual(
    [refused.status, refused.body.error.code, refused.body.error.param],
    [403, 'insufficient_scope', 'edit'],
  );
  assert.equal((await post(`/v1/reservations/${id}/vote`, { choice: 'a' }, headers)).state, 'voted');
});

test('a time too short for a real number is stored as none', async () => {
  const queue = await createQueue('short times');
  for (const seconds of [1e-50, 1e-40, 5e-324]) {
    const { id } = await post(`/v1/queues/${queue}/next`, { rater: 'ann' });
    await post(`/v1/reservations/${id}/vote`, { choice: 'a', seconds });
    const [row] = (await server.connection.sql`select seconds from preferences where reservation_id = ${id}`) as [Json];
    assert.equal(row.seconds, 0);
  }
});

test('an edit that equals the other side is refused: the vote would say both', async () => {
  const queue = await createQueue('contradictions');
  const { id, a, b } = await post(`/v1/queues/${queue}/next`, { rater: 'ann' });
  const refused = await send(`/v1/reservations/${id}/vote`, { choice: 'a', edit: b.text });
  assert.deepEqual([refused.status, refused.body.error.param], [400, 'edit'], JSON.stringify(refused.body));
  const vote = { prompt: 'Once', chosen: 'yes', rejected: 'no' };
  assert.equal((await send('/v1/preferences', { ...vote, edit: 'no' })).body.error.param, 'edit');
  assert.equal((await post(`/v1/reservations/${id}/vote`, { choice: 'b', edit: `${a.text}!` })).edit, `${a.text}!`);
});
