// A training round on every kind of signal: votes of a queue over given and over generated responses, their edits, feedback with
// a better response, and responses that were generated again.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { eq } from 'drizzle-orm';
import { preferences, round_pairs } from '../shared/database/schema.ts';
import { type Json, startEdgeServer } from '../testing/edge-server.ts';
import { waitForRound } from '../testing/wait-for-round.ts';
import { startTrainer } from '../trainer/main.ts';

const server = await startEdgeServer({
  IMPLICIT_PAIRS: 'on',
  LEARNING_RATE: '0.003',
  TRAIN_THREADS: '1',
  TRAIN_MEMORY: String(2 ** 30),
  TRAIN_RATER_SHARE: '1',
  TRAIN_SOURCE_SHARE: '1',
  TRAIN_SCHEDULE: '0 0 1 1 *',
  BATCH_PAIRS: '8',
});
const { post } = server;
const { db } = server.connection;
const trainer = await startTrainer(server.settings, server.databaseUrl, () => {});
after(() => trainer.close());

async function createQueue(name: string, rows: object[]): Promise<string> {
  const { id } = await post('/v1/queues', { name, max_tokens: 8, temperature: 2, gold_share: 0, repeat_share: 0 });
  const body = rows.map((row) => JSON.stringify(row)).join('\n');
  const headers = { 'content-type': 'application/jsonl' };
  const imported = await server.request(`/v1/queues/${id}/items`, { method: 'POST', body, headers });
  assert.equal(imported.body.imported, rows.length);
  return id;
}

/** Votes on every item of the queue; returns the ids of its reservations. */
async function voteOnAll(queue: string, choose: (reserved: Json) => object): Promise<number> {
  for (let done = 0; ; done++) {
    const reserved = await post(`/v1/queues/${queue}/next`, { rater: 'ann' });
    if (reserved.id === null) return done;
    await post(`/v1/reservations/${reserved.id}/vote`, choose(reserved));
  }
}

test('a round trains on votes over given and generated responses, edits, demonstrations and implicit pairs', async () => {
  const chats = (name: string, count: number) =>
    Array.from({ length: count }, (_, at) => ({ messages: [{ role: 'user', content: `${name} ${at}` }] }));
  const given = [
    ...chats('Given', 20),
    ...Array.from({ length: 20 }, (_, at) => ({ prompt: `Given text ${at}:` })),
  ].map((row) => ({ ...row, a: ' yes yes', b: ' no no' }));
  const ofGiven = await createQueue('given', given);
  assert.equal(await voteOnAll(ofGiven, ({ a }) => ({ choice: a.text === ' yes yes' ? 'a' : 'b' })), 40);
  const ofEdited = await createQueue(
    'edited',
    chats('Edited', 6).map((row) => ({ ...row, a: ' yes', b: ' no no' })),
  );
  const isYes = ({ text }: Json) => text === ' yes';
  assert.equal(await voteOnAll(ofEdited, ({ a }) => ({ choice: isYes(a) ? 'a' : 'b', edit: ' yes yes' })), 6);
  const ofGenerated = await createQueue('generated', chats('Generated', 10));
  const generated = await voteOnAll(ofGenerated, () => ({ choice: 'a', edit: ' yes yes' }));
  assert.ok(generated >= 6, String(generated));
  for (const { messages } of chats('Regenerated', 8)) {
    const old = await post('/v1/chat/completions', { messages, max_tokens: 8, seed: 1 });
    await post('/v1/chat/completions', { messages, max_tokens: 8, seed: 2, regenerated_from: old.id });
    await post('/v1/feedback', { generation: old.id, demonstration: ' yes yes' });
  }

  const requested = await post('/v1/rounds', {});
  const round = await waitForRound(server, requested.id);
  assert.equal(round.status, 'succeeded', round.reason);
  assert.equal(round.pairs.left_out.empty, 0);
  const pairs = await db
    .select({ source: preferences.source, of: preferences.prompt, left_out: round_pairs.left_out })
    .from(round_pairs)
    .innerJoin(preferences, eq(preferences.id, round_pairs.preference_id))
    .where(eq(round_pairs.round_id, round.id));
  assert.ok(pairs.every(({ left_out }) => !left_out));
  const counts = Object.entries(Object.groupBy(pairs, ({ source }) => source)).map(([name, of]) => [name, of.length]);
  assert.deepEqual(Object.fromEntries(counts), {
    comparison: 40 + 6 + generated,
    demonstration: 6 + generated + 8,
    implicit: 8,
  });
  assert.equal(round.pairs.train + round.pairs.held_out, pairs.length);
  assert.ok(round.metrics.loss < round.metrics['parent/loss']);
});
