import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eq } from 'drizzle-orm';
import { openTestDatabase } from '../../testing/database.ts';
import { storeComparison, storePreference } from '../../testing/stored-rows.ts';
import { storeVersionedQueue } from '../../testing/voted-queues.ts';
import { PAGE_SIZE } from '../database/read-pages.ts';
import { type Choice, comparisons, preferences, queue_raters } from '../database/schema.ts';
import { type Aggregation, countMajorities, readMajorities } from './majority.ts';
import { exportPreferences } from './store.ts';

const { db } = await openTestDatabase();
const CHOICES: Record<string, Choice> = { a: 'a', b: 'b', t: 'tie', x: 'both_bad', s: 'skip' };

/** `votes`: a letter for each, of raters 0, 1, … The chosen side has its own letter. */
async function vote(tenant: string, votes: string, queue: string | null = null): Promise<string> {
  const { id } = await storeComparison(db, votes, { tenant });
  await db.update(comparisons).set({ queue_id: queue }).where(eq(comparisons.id, id));
  for (const [rater, letter] of [...votes].entries())
    await storePreference(db, votes, {
      tenant,
      source: 'comparison',
      comparison_id: id,
      choice: CHOICES[letter]!,
      rater: `rater_${rater}`,
      chosen: letter === 'b' ? 'B' : 'A',
      rejected: letter === 'b' ? 'A' : 'B',
    });
  return id;
}

/** What is chosen, by the votes. */
async function listMajorities(tenant: string, aggregation: Partial<Aggregation> = {}) {
  const options = { minReviews: 1, excludePaused: false, ...aggregation };
  const pairs = await Array.fromAsync(readMajorities(db, tenant, options));
  const counts = await countMajorities(db, tenant, options);
  assert.equal(counts.pairs, pairs.length);
  return { chosen: Object.fromEntries(pairs.map((pair) => [pair.prompt, pair.chosen])), counts, pairs };
}

test('a comparison becomes one pair, by more than half of its votes', async () => {
  for (const votes of ['a', 'bba', 'ab', 'aatt', 'abt', 'ttx', 'aas', 'ss', 'aaabb', 'tb']) await vote('t', votes);
  const { chosen, counts, pairs } = await listMajorities('t');
  assert.deepEqual(chosen, { a: 'A', bba: 'B', aas: 'A', aaabb: 'A' });
  assert.deepEqual(counts, { pairs: 4, ties: 1, no_majority: 4, too_few_reviews: 0 });
  const [single, several] = pairs;
  assert.deepEqual([single!.rater, several!.rater], ['rater_0', null]);
  assert.deepEqual(several!.votes, { chosen: 2, rejected: 1, tie: 0, both_bad: 0 });
  const atLeast = await listMajorities('t', { minReviews: 3 });
  assert.deepEqual(atLeast.chosen, { bba: 'B', aaabb: 'A' });
  assert.deepEqual(atLeast.counts, { pairs: 2, ties: 1, no_majority: 2, too_few_reviews: 4 });
});

test('raters who are paused in a queue do not count there', async () => {
  await storeVersionedQueue(db, 'que_1');
  await db.insert(queue_raters).values([
    { queue_id: 'que_1', rater: 'rater_2', paused_at: new Date() },
    { queue_id: 'que_1', rater: 'rater_1' },
  ]);
  const id = await vote('q', 'aab', 'que_1');
  await vote('q', 'abb', 'que_1');
  await vote('q', 'bba');
  const votes = await db.select().from(preferences).where(eq(preferences.comparison_id, id));
  for (const { id, rater } of votes)
    await storePreference(db, `edit of ${rater}`, { tenant: 'q', source: 'demonstration', rater, edit_of: id });
  const all = await listMajorities('q');
  assert.deepEqual(all.counts, { pairs: 6, ties: 0, no_majority: 0, too_few_reviews: 0 });
  const { chosen, counts } = await listMajorities('q', { excludePaused: true });
  assert.deepEqual([chosen.aab, chosen.abb, chosen.bba], ['A', undefined, 'B']);
  assert.deepEqual(counts, { pairs: 4, ties: 0, no_majority: 1, too_few_reviews: 0 });
  assert.ok('edit of rater_1' in chosen && !('edit of rater_2' in chosen));
});

test('pairs of no comparison, demonstrations among them, are of one person each', async () => {
  await storePreference(db, 'demonstration', { tenant: 'own', source: 'demonstration' });
  await storePreference(db, 'import', { tenant: 'own', source: 'import' });
  await storePreference(db, 'tie', { tenant: 'own', source: 'raw', choice: 'tie' });
  await storePreference(db, 'erased', { tenant: 'own', source: 'demonstration', erased_at: new Date() });
  const { chosen } = await listMajorities('own');
  assert.deepEqual(Object.keys(chosen), ['demonstration', 'import']);
  const several = await listMajorities('own', { minReviews: 2 });
  assert.deepEqual(several.chosen, {});
  assert.deepEqual(several.counts, { pairs: 0, ties: 0, no_majority: 0, too_few_reviews: 2 });
});

test('more comparisons than a page are exported once each, in every format', async () => {
  const count = PAGE_SIZE + 3;
  await Promise.all(Array.from({ length: count }, (_, at) => vote('many', at % 2 === 0 ? 'a' : 'b')));
  const aggregation = { minReviews: 1, excludePaused: true };
  for (const format of ['openai', 'trl', 'attune'] as const) {
    const lines = await Array.fromAsync(exportPreferences(db, format, 'many', aggregation));
    assert.equal(lines.length, count);
    const rows = lines.map((line) => JSON.parse(line));
    if (format !== 'openai') assert.equal(new Set(rows.map((row) => row.id)).size, count);
    if (format === 'attune') assert.deepEqual(rows[1].votes, { chosen: 1, rejected: 0, tie: 0, both_bad: 0 });
  }
});
