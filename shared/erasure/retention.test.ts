import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asc, eq } from 'drizzle-orm';
import { openTestDatabase } from '../../testing/database.ts';
import { storeComparison, storeCompletion, storePreference } from '../../testing/stored-rows.ts';
import {
  comparisons,
  completions,
  feedback,
  generations,
  preferences,
  retention_progress,
} from '../database/schema.ts';
import { newId } from '../id.ts';
import { erase } from './erase.ts';
import { applyRetention } from './retention.ts';

const { db } = await openTestDatabase();
const DAY_MS = 86_400_000;

/** An id of a row that was made so many days ago. */
const toOldId = (prefix: 'chatcmpl-' | 'cmpl-' | 'cmp_', days: number) => {
  const time = (Date.now() - days * DAY_MS).toString(16).padStart(12, '0');
  return prefix + time + newId(prefix).slice(prefix.length + 12);
};
const listIds = async () => (await db.select().from(completions).orderBy(asc(completions.id))).map(({ id }) => id);

test('completions and comparisons that nobody voted on, nor gave feedback on, are deleted after their time, and nothing else', async () => {
  assert.equal(await applyRetention(db, { RETENTION_DAYS: undefined }), 0);
  const fresh = await storeCompletion(db, 'fresh', { id: toOldId('chatcmpl-', 6) });
  for (const prefix of ['chatcmpl-', 'cmpl-'] as const)
    await storeCompletion(db, 'old', { kind: prefix === 'cmpl-' ? 'text' : 'chat', id: toOldId(prefix, 8) }, 2);
  const voted = await storeCompletion(db, 'voted', { id: toOldId('chatcmpl-', 9) }, 2);
  await storePreference(db, 'x', { source: 'generations', rejected_generation_id: voted[1]! });
  const seen = await storeComparison(db, 'voted', {}, toOldId('cmp_', 9));
  await storePreference(db, 'x', { source: 'comparison', comparison_id: seen.id, choice: 'skip', rater: 'bob' });
  const side = await storeComparison(db, 'side', {}, toOldId('cmp_', 9));
  await storePreference(db, 'x', { source: 'generations', chosen_generation_id: side.sides[0]!, rater: 'eve' });
  await storeComparison(db, 'old', {}, toOldId('cmp_', 8));
  const praised = await storeCompletion(db, 'praised', { id: toOldId('chatcmpl-', 9) });
  const cheered = await storeComparison(db, 'cheered', {}, toOldId('cmp_', 9));
  for (const generation_id of [praised[0]!, cheered.sides[1]!])
    await db.insert(feedback).values({ id: newId('fb_'), generation_id, rater: 'ann', thumb: 1 });
  const queued = await storeComparison(db, 'queued', {}, toOldId('cmp_', 9));
  await db.update(comparisons).set({ queue_id: 'que_1' }).where(eq(comparisons.id, queued.id));
  const erased = await storeCompletion(db, 'erased', { id: toOldId('chatcmpl-', 9) });
  await db.transaction((transaction) =>
    erase(transaction, { kind: 'generation', value: erased[0]!, tenant: 'default' }, 'test'),
  );

  assert.equal(await applyRetention(db, { RETENTION_DAYS: 7 }), 3);
  const shownKept = [seen, side, cheered, queued];
  const kept = [fresh[0]!, voted[0]!, praised[0]!, erased[0]!, ...shownKept.map(({ sides }) => sides[0]!)];
  assert.deepEqual(await listIds(), kept.toSorted());
  const shown = (await db.select().from(comparisons)).map(({ id }) => id);
  assert.deepEqual(shown.toSorted(), shownKept.map(({ id }) => id).toSorted());
  assert.deepEqual([await db.$count(generations), await db.$count(preferences)], [13, 3]);
  assert.equal(await applyRetention(db, { RETENTION_DAYS: 7 }), 0);
});

test('it goes on where it ended, and does not look at earlier rows again', async () => {
  const old: string[] = [];
  for (let at = 0; at < 1100; at++) old.push((await storeCompletion(db, 'old', { id: toOldId('chatcmpl-', 7.5) }))[0]!);
  assert.equal(await applyRetention(db, { RETENTION_DAYS: 7 }, 1), 500);
  const [cursor] = await db.select().from(retention_progress).where(eq(retention_progress.kind, 'chatcmpl-'));
  assert.ok(old.includes(cursor!.after_id));
  // Before the cursor: as a row whose vote was retracted after it had passed.
  const passed = await storeCompletion(db, 'passed', { id: toOldId('chatcmpl-', 30) });
  assert.equal(await applyRetention(db, { RETENTION_DAYS: 7 }), 600);
  assert.ok((await listIds()).includes(passed[0]!));
});

test('two at once delete each row once', async () => {
  for (let at = 0; at < 700; at++) await storeCompletion(db, 'old', { id: toOldId('chatcmpl-', 7.1) });
  const runs = await Promise.all(Array.from({ length: 4 }, () => applyRetention(db, { RETENTION_DAYS: 7 })));
  const rest = await applyRetention(db, { RETENTION_DAYS: 7 });
  assert.equal(
    runs.reduce((sum, count) => sum + count, rest),
    700,
  );
});
