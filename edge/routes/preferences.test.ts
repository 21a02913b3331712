import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Json, startEdgeServer } from '../../testing/edge-server.ts';

const server = await startEdgeServer();

const send = (path: string, json: object) => server.request(path, { json });
async function compare(): Promise<Json> {
  const { id } = (await send('/v1/comparisons', { prompt: 'Once upon a time', max_tokens: 4, temperature: 2 })).body;
  const [sides] = (await server.connection.sql`
    select a_generation_id as a, b_generation_id as b from comparisons where id = ${id}`) as [Json];
  return { id, ...sides };
}

test('a rater judges the sides of a comparison once, by its id or by theirs', async () => {
  const first = await compare();
  const byId = { comparison: first.id, choice: 'a', rater: 'ann' };
  const voted = await send('/v1/preferences', byId);
  assert.equal(voted.status, 200);
  const { a, b } = first;
  for (const sides of [
    { chosen: a, rejected: b },
    { chosen: b, rejected: a },
  ]) {
    const again = await send('/v1/preferences', { ...sides, rater: 'ann' });
    assert.deepEqual([again.status, again.body.error.code], [409, 'already_voted'], JSON.stringify(again.body));
  }
  assert.equal((await send('/v1/preferences', { chosen: b, rejected: a, rater: 'bob' })).status, 200);
  const other = await send('/v1/preferences', { ...byId, rater: 'bob' });
  assert.deepEqual([other.status, other.body.error.code], [409, 'already_voted']);
  assert.equal((await send('/v1/preferences', { ...byId, rater: 'cid' })).status, 200);
  await server.request(`/v1/preferences/${voted.body.id}`, { method: 'DELETE' });
  assert.equal((await send('/v1/preferences', { chosen: a, rejected: b, rater: 'ann' })).status, 200);
});
