import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eq } from 'drizzle-orm';
import { openTestDatabase } from '../../testing/database.ts';
import { storeComparison, storePreference } from '../../testing/stored-rows.ts';
import { storeVersionedQueue, storeVotedItem } from '../../testing/voted-queues.ts';
import { comparisons, completions, preferences, queues } from '../database/schema.ts';
import { createDatasheet } from './create-datasheet.ts';
import { formatDatasheet } from './datasheet-markdown.ts';

const { db } = await openTestDatabase();

test('the datasheet of no comparisons says so', async () => {
  const sheet = await createDatasheet(db, { tenant: 'nobody' });
  assert.equal(sheet.comparisons.total, 0);
  assert.equal(sheet.agreement.alpha, null);
  assert.equal(sheet.licence, null);
  assert.deepEqual(sheet.comparisons.dates, { first: null, last: null });
  assert.equal(sheet.raters.votes_per_rater, null);
  assert.match(sheet.limits[0]!, /Nobody has voted/);
  assert.match(formatDatasheet(sheet), /Licence: not given/);
});

test('the datasheet counts votes by what they say and who gave them, without a name', async () => {
  const tenant = 'counted';
  const prompts = [
    'Write a short story about a girl who lived near a lake and liked to swim there.',
    'Schreibe eine kurze Geschichte über ein Mädchen, das an einem See wohnte und gerne schwamm.',
    'Напиши короткий рассказ о девочке, которая жила у озера и любила плавать каждый день.',
  ];
  // Of each comparison the votes of ann, ben and a rater, of 30.
  const votes = ['aaa', 'aab', 'bbb'] as const;
  for (let at = 0; at < 30; at++) {
    const { id, sides } = await storeComparison(db, prompts[at % 3]!, { tenant });
    const sideOf = (choice: string) => (choice === 'a' ? sides : sides.toReversed());
    for (const [rater, choice] of [...votes[at % 3]!].entries())
      await storePreference(db, 'vote', {
        tenant,
        source: 'comparison',
        comparison_id: id,
        choice: choice as 'a' | 'b',
        rater: ['user:ann@example.com', 'user:ben', 'rater_1'][rater]!,
        strength: rater === 2 ? 'much' : null,
        seconds: 10,
        chosen_generation_id: sideOf(choice)[0]!,
        rejected_generation_id: sideOf(choice)[1]!,
      });
  }
  await storePreference(db, 'imported', { tenant, source: 'import' });
  const sheet = await createDatasheet(db, { tenant }, 'CC-BY-4.0');
  assert.deepEqual([sheet.comparisons.total, sheet.comparisons.voted, sheet.votes.total], [30, 30, 90]);
  assert.deepEqual(sheet.votes.by_choice, { a: 50, b: 40 });
  assert.deepEqual(sheet.votes.by_strength, { much: 30 });
  assert.deepEqual(sheet.votes.by_policy, [{ policy: 'pol_1', votes: 180, preferred: 90 }]);
  assert.deepEqual(sheet.preferences_by_source, { comparison: 90, import: 1 });
  assert.deepEqual(sheet.raters.by_kind, { rater: 1, 'end user': 2, other: 0 });
  assert.deepEqual(sheet.raters.votes_of_most_active, [30, 30, 30]);
  assert.deepEqual(sheet.prompts.languages, { sampled: 30, by_language: { deu: 10, eng: 10, rus: 10 } });
  assert.deepEqual([sheet.prompts.distinct, sheet.prompts.characters!.min], [3, prompts[0]!.length]);
  assert.deepEqual([sheet.agreement.comparisons, sheet.agreement.unanimous], [30, 20]);
  // Of the coincidences (10 · 3 twice, 10 · 2 and 1): 1 − 89 · 20 / (2 · 50 · 40).
  assert.ok(Math.abs(sheet.agreement.alpha!.value - (1 - (89 * 20) / 4000)) < 1e-12);
  assert.ok(sheet.agreement.alpha!.interval!.low < sheet.agreement.alpha!.value);
  assert.equal(sheet.agreement.strength_alpha, null);
  assert.equal(sheet.votes.seconds_median, 10);
  const text = formatDatasheet(sheet);
  for (const one of [JSON.stringify(sheet), text]) assert.doesNotMatch(one, /ann|ben|rater_1/);
  assert.match(text, /Licence: CC\\-BY\\-4\.0/);
  assert.match(text, /\| `a` \| 50 \| 56% \|/);
  for (const heading of ['Motivation', 'Composition', 'Collection process', 'Uses', 'Known limits', 'Maintenance'])
    assert.match(text, new RegExp(`^## ${heading}$`, 'm'));
  assert.match(sheet.limits.join('\n'), /agree little/);
});

test('the datasheet of a queue has its guidelines, and no name or guideline becomes its markup', async () => {
  await storeVersionedQueue(db, 'que_1');
  await db.update(queues).set({ name: 'Short | stories\n# by <b>Ann</b>' }).where(eq(queues.id, 'que_1'));
  await storeVotedItem(db, 'que_1', [{ role: 'user', content: 'Hello there, how are you doing today?' }]);
  await storeComparison(db, 'of no queue');
  const sheet = await createDatasheet(db, { tenant: 'default', queue: 'que_1' });
  assert.deepEqual([sheet.comparisons.total, sheet.votes.total, sheet.prompts.chats], [1, 1, 1]);
  assert.deepEqual(sheet.preferences_by_source, { comparison: 1, demonstration: 1 });
  const [guidelines] = sheet.guidelines;
  assert.deepEqual([guidelines!.version, guidelines!.votes, guidelines!.text], [2, 1, 'Be fair']);
  const text = formatDatasheet(sheet);
  assert.doesNotMatch(text, /^# by|<b>/m);
  assert.match(text, /^> Be fair$/m);
});

test('the datasheet of a time is of what was made in it, and names redaction', async () => {
  const tenant = 'times';
  const now = Date.now();
  const old = await storeComparison(db, 'old', { tenant });
  await db
    .update(comparisons)
    .set({ created_at: new Date(now - 60_000) })
    .where(eq(comparisons.id, old.id));
  await db.update(completions).set({ redacted: true }).where(eq(completions.id, old.sides[0]!));
  await storeComparison(db, 'new', { tenant });
  await storePreference(db, 'new', { tenant });
  const until = await createDatasheet(db, { tenant, until: new Date(now - 30_000) });
  assert.deepEqual([until.comparisons.total, until.comparisons.redacted], [1, 1]);
  assert.deepEqual(until.preferences_by_source, {});
  assert.match(until.limits.join('\n'), /Redacted texts/);
  const since = await createDatasheet(db, { tenant, since: new Date(now - 30_000) });
  assert.deepEqual([since.comparisons.total, since.preferences_by_source], [1, { raw: 1 }]);
  assert.equal(await db.$count(preferences, eq(preferences.tenant, tenant)), 1);
});
