// What is handed on of queues that raters have worked through over the API.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Json, startEdgeServer } from '../../testing/edge-server.ts';

const server = await startEdgeServer();
const { request, post } = server;

async function importItems(queue: string, rows: object[]): Promise<void> {
  const body = rows.map((row) => JSON.stringify(row)).join('\n');
  const headers = { 'content-type': 'application/jsonl' };
  const imported = await request(`/v1/queues/${queue}/items`, { method: 'POST', body, headers });
  assert.equal(imported.body.imported, rows.length, JSON.stringify(imported.body));
}

/** Answers whatever the queue gives, until it gives nothing more. */
async function work(queue: string, rater: string, answer: (reservation: Json) => object): Promise<void> {
  for (;;) {
    const reserved = await post(`/v1/queues/${queue}/next`, { rater });
    if (reserved.id === null) return;
    await post(`/v1/reservations/${reserved.id}/vote`, answer(reserved));
  }
}

const exportLines = async (path: string): Promise<Json[]> =>
  ((await request(path)).body as string)
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));

test('votes, gold votes and skips of a queue are exported in terms of the comparison, with how they were given', async () => {
  const settings = { reviews: 3, gold_share: 0.5, repeat_share: 0, guidelines: 'Be brief.' };
  const queue = await post('/v1/queues', { name: 'handed on', ...settings });
  const prompts = Array.from({ length: 6 }, (_, at) => `Question ${at}`);
  await importItems(queue.id, [
    ...prompts.map((prompt) => ({ prompt, a: `${prompt}: a good answer`, b: 'something bad', group: 'rated' })),
    { prompt: 'Known', a: 'something bad', b: 'Known: a good answer', expected: 'b', kind: 'gold' },
  ]);
  const isGood = (text: string) => text.includes('good');
  // The better side has the right choice wherever it is shown.
  for (const rater of ['ann', 'ben'])
    await work(queue.id, rater, ({ a }) => ({
      choice: isGood(a.text) ? 'a' : 'b',
      strength: 'much',
      seconds: 3,
      ...(rater === 'ann' ? { edit: 'an even better answer' } : {}),
    }));
  await work(queue.id, 'cleo', () => ({ choice: 'skip' }));

  const records = await exportLines(`/v1/comparisons/export?queue=${queue.id}`);
  assert.equal(records.length, 7);
  const rated = records.filter(({ item }) => item.kind === 'rated');
  for (const { a, b, votes, item, queue: of } of rated) {
    assert.deepEqual([of, item.group, item.expected], [queue.id, 'rated', null]);
    assert.deepEqual([a.policy, b.policy, a.token_ids, a.logps], ['given', 'given', [], []]);
    const chosen = isGood(a.text) ? 'a' : 'b';
    const byRater = new Map<string, Json>(votes.map((vote: Json) => [vote.rater, vote]));
    assert.deepEqual(
      ['ann', 'ben', 'cleo'].map((name) => byRater.get(`user:${name}`)?.choice),
      [chosen, chosen, 'skip'],
    );
    const { reservation, strength, seconds, edit } = byRater.get('user:ann')!;
    assert.deepEqual([strength, seconds, edit], ['much', 3, 'an even better answer']);
    assert.deepEqual([reservation.purpose, reservation.guidelines_version], ['vote', 1]);
    assert.ok(reservation.probability > 0 && reservation.probability <= 1);
    assert.equal(byRater.get('user:ben')!.edit, null);
  }
  const [gold] = records.filter(({ item }) => item.kind === 'gold');
  assert.equal(gold.item.expected, 'b');
  for (const { choice, reservation } of gold.votes)
    if (choice !== 'skip') assert.deepEqual([choice, reservation.purpose], ['b', 'gold']);

  const { body: sheet } = await request(`/v1/comparisons/datasheet?queue=${queue.id}`);
  assert.deepEqual(sheet.preferences_by_source, { comparison: 12, demonstration: 6 });
  assert.deepEqual([sheet.agreement.comparisons, sheet.agreement.unanimous], [6, 6]);
  assert.deepEqual(
    sheet.guidelines.map(({ version, votes, text }: Json) => [version, votes, text]),
    [[1, 12, 'Be brief.']],
  );

  // A rater who is paused does not count any more, nor do their demonstrations.
  const pairs = () => exportLines('/v1/preferences/export?format=attune&aggregate=majority&exclude_paused=true');
  const before = await pairs();
  assert.deepEqual([before.length, before[0].votes.chosen], [12, 2]);
  await post(`/v1/queues/${queue.id}/raters/user:ann/pause`, {});
  const after = await pairs();
  assert.deepEqual([after.length, after[0].votes.chosen, after[0].rater], [6, 1, 'user:ben']);
});
