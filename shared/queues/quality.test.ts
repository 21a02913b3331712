import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openTestDatabase } from '../../testing/database.ts';
import { storeComparison } from '../../testing/stored-rows.ts';
import {
  type Choice,
  preferences,
  queue_items,
  queue_raters,
  queues,
  type ReservationPurpose,
  reservations,
  type Strength,
} from '../database/schema.ts';
import { newId } from '../id.ts';
import { queueSettingsSchema } from '../queue-settings.ts';
import { krippendorffAlpha } from '../statistics/krippendorff-alpha.ts';
import { measureQuality } from './quality.ts';

const { db } = await openTestDatabase();

let made = 0;
const nextId = (prefix: string) => `${prefix}${String(++made).padStart(6, '0')}`;

async function createQueue(): Promise<string> {
  const id = nextId('que_');
  const settings = queueSettingsSchema.parse({ reviews: 4 });
  await db.insert(queues).values({ id, name: id, settings, guidelines_version: 1 });
  return id;
}

type Item = { id: string; comparison: string; sides: string[] };

async function addItem(queue: string, fields: Partial<typeof queue_items.$inferInsert> = {}): Promise<Item> {
  const id = nextId('item_');
  const { id: comparison, sides } = await storeComparison(db, id);
  const values = {
    id,
    queue_id: queue,
    prompt: id,
    content_hash: id,
    comparison_id: comparison,
    state: 'open' as const,
  };
  await db.insert(queue_items).values({ ...values, ...fields });
  return { id, comparison, sides };
}

type Vote = {
  rater: string;
  choice: Choice;
  purpose?: ReservationPurpose;
  swapped?: boolean;
  strength?: Strength;
  seconds?: number;
};

/** As a reservation stores it: a vote as a preference, one that measures the rater in the reservation. */
async function vote(queue: string, item: Item, { rater, choice, purpose = 'vote', swapped = false, ...rest }: Vote) {
  const id = nextId('res_');
  const state = choice === 'skip' ? ('skipped' as const) : ('voted' as const);
  const given = { strength: rest.strength ?? null, seconds: rest.seconds ?? null };
  await db.insert(reservations).values({
    id,
    queue_id: queue,
    item_id: item.id,
    rater,
    purpose,
    state,
    swapped,
    probability: 1,
    guidelines_version: 1,
    expires_at: new Date(),
    ...(purpose === 'vote' ? {} : { choice, ...given }),
  });
  if (purpose !== 'vote') return;
  const preference = newId('pref_');
  await db.insert(preferences).values({
    id: preference,
    source: 'comparison',
    comparison_id: item.comparison,
    choice,
    rater,
    prompt: item.id,
    chosen: 'yes',
    rejected: 'no',
    content_hash: preference,
    reservation_id: id,
    ...given,
  });
}

test('raters are compared with each other, and items on which they split are listed', async () => {
  const queue = await createQueue();
  const table: [string, Partial<Record<'ann' | 'bea' | 'cem', [Choice, Strength?]>>][] = [
    ['all a', { ann: ['a', 'much'], bea: ['a', 'much'], cem: ['a', 'clearly'] }],
    ['all b', { ann: ['b', 'slightly'], bea: ['b', 'clearly'], cem: ['b', 'slightly'] }],
    ['two of three', { ann: ['a', 'much'], bea: ['a', 'slightly'], cem: ['b', 'slightly'] }],
    ['a tie', { ann: ['tie'], bea: ['tie'], cem: ['tie'] }],
    ['an even split', { ann: ['a'], bea: ['b'] }],
    ['one vote', { ann: ['both_bad'] }],
    ['again all a', { ann: ['a', 'clearly'], bea: ['a', 'clearly'], cem: ['a', 'clearly'] }],
    ['again all b', { ann: ['b', 'clearly'], bea: ['b', 'much'], cem: ['skip'] }],
  ];
  const items = new Map<string, Item>();
  for (const [name, votes] of table) {
    const item = await addItem(queue);
    items.set(name, item);
    for (const [rater, [choice, strength]] of Object.entries(votes))
      await vote(queue, item, { rater, choice, ...(strength ? { strength } : {}) });
  }
  await addItem(queue, { state: 'dropped' });

  const quality = await measureQuality(db, queue);
  assert.deepEqual(quality.votes, { a: 9, b: 7, tie: 3, both_bad: 1, total: 20, skips: 1 });
  assert.deepEqual(quality.items, { voted: 8, rated_by_several: 7, dropped: 1 });
  const one = new Float64Array(7).fill(1);
  const choices = [
    [3, 0, 0, 0],
    [0, 3, 0, 0],
    [2, 1, 0, 0],
    [0, 0, 3, 0],
    [1, 1, 0, 0],
    [3, 0, 0, 0],
    [0, 2, 0, 0],
  ];
  assert.equal(quality.agreement.choice.value, krippendorffAlpha(choices, 'nominal')(one));
  assert.equal(quality.agreement.choice.count, 7);
  assert.ok(quality.agreement.choice.interval!.low < quality.agreement.choice.value!);
  // From much for b to much for a; votes without a strength say nothing.
  const strengths = [
    [0, 0, 0, 0, 0, 1, 2],
    [0, 1, 2, 0, 0, 0, 0],
    [0, 0, 1, 0, 1, 0, 1],
    [0, 0, 0, 3, 0, 0, 0],
    [0, 0, 0, 0, 0, 3, 0],
    [1, 1, 0, 0, 0, 0, 0],
  ];
  assert.equal(quality.agreement.strength.value, krippendorffAlpha(strengths, 'ordinal')(one.subarray(0, 6)));
  assert.deepEqual(quality.split, {
    count: 2,
    items: [
      {
        item: items.get('an even split')!.id,
        comparison: items.get('an even split')!.comparison,
        votes: { a: 1, b: 1, tie: 0, both_bad: 0 },
      },
      {
        item: items.get('two of three')!.id,
        comparison: items.get('two of three')!.comparison,
        votes: { a: 2, b: 1, tie: 0, both_bad: 0 },
      },
    ],
  });
  const [ann, bea, cem] = quality.raters;
  assert.deepEqual([ann!.rater, ann!.votes, cem!.votes, cem!.skips], ['ann', 8, 5, 1]);
  // Of cem's votes all but one; the others of an item with a draw have no majority.
  assert.deepEqual([cem!.agreement.value, cem!.agreement.count], [4 / 5, 5]);
  assert.deepEqual([bea!.agreement.value, bea!.agreement.count], [5 / 6, 6]);
  assert.equal(cem!.agreement.interval, null);
});

test('known answers, repeats and speed measure a rater, and a paused one is named with the reason', async () => {
  const queue = await createQueue();
  const choices: Choice[] = ['a', 'b', 'a', 'tie', 'b', 'a', 'b', 'a'];
  for (const [at, expected] of choices.entries()) {
    const gold = await addItem(queue, { kind: 'gold', expected });
    const calibration = await addItem(queue, { kind: 'calibration', expected });
    const rated = await addItem(queue);
    const right = { rater: 'ann', choice: expected };
    await vote(queue, calibration, { ...right, purpose: 'calibration', seconds: 50 });
    await vote(queue, gold, { ...right, purpose: 'gold', choice: at < 6 ? expected : 'tie', seconds: 4 });
    await vote(queue, rated, { ...right, seconds: 10 + at });
    await vote(queue, rated, { ...right, purpose: 'repeat', choice: at < 2 ? 'both_bad' : expected, seconds: 3 });
    await vote(queue, gold, { rater: 'bot', choice: 'a', purpose: 'gold', seconds: 0.5 });
  }
  await vote(queue, await addItem(queue, { kind: 'gold', expected: 'a' }), {
    rater: 'ann',
    choice: 'skip',
    purpose: 'gold',
  });
  const paused = { paused_at: new Date('2026-05-01T10:00:00Z'), paused_reason: 'gold accuracy 50%' };
  await db.insert(queue_raters).values({ queue_id: queue, rater: 'bot', ...paused });

  const { raters, gold, consistency, votes } = await measureQuality(db, queue);
  assert.deepEqual([votes.total, votes.skips], [8, 1]);
  const [ann, bot] = raters;
  assert.deepEqual([ann!.rater, bot!.rater], ['ann', 'bot']);
  assert.deepEqual([ann!.gold.accuracy.value, ann!.gold.accuracy.count], [6 / 8, 8]);
  assert.ok(ann!.gold.kappa.value! > 0.5 && ann!.gold.kappa.interval!.high <= 1);
  assert.equal(ann!.calibration.accuracy.value, 1);
  assert.deepEqual([ann!.consistency.value, ann!.consistency.count], [6 / 8, 8]);
  assert.deepEqual([ann!.seconds.value, ann!.seconds.count], [4, 24]);
  assert.equal(ann!.paused, null);
  assert.deepEqual([bot!.gold.accuracy.value, bot!.gold.kappa.value], [0.5, 0]);
  assert.deepEqual(bot!.paused, { at: paused.paused_at, reason: paused.paused_reason });
  assert.deepEqual([gold.accuracy.value, gold.accuracy.count], [10 / 16, 16]);
  assert.equal(consistency.value, 6 / 8);
});

test('the side that a rater prefers is the one on the screen', async () => {
  const queue = await createQueue();
  for (let at = 0; at < 12; at++) {
    const item = await addItem(queue);
    const swapped = at % 2 === 1;
    // Always the left one; and always the same response, wherever it is.
    await vote(queue, item, { rater: 'left', choice: swapped ? 'b' : 'a', swapped });
    await vote(queue, item, { rater: 'reader', choice: 'a', swapped });
  }
  const { raters } = await measureQuality(db, queue);
  assert.deepEqual(
    raters.map(({ rater, side_bias }) => [rater, side_bias.value]),
    [
      ['left', 1],
      ['reader', 0.5],
    ],
  );
  assert.deepEqual(raters[0]!.side_bias.interval, { low: 1, high: 1 });
  const { low, high } = raters[1]!.side_bias.interval!;
  assert.ok(low < 0.5 && high > 0.5);
});

test('a queue without votes has nothing to measure, and measures twice the same', async () => {
  const queue = await createQueue();
  const nothing = { value: null, interval: null, count: 0 };
  const quality = await measureQuality(db, queue);
  assert.deepEqual(quality.agreement, { choice: nothing, strength: nothing });
  assert.deepEqual([quality.gold.kappa, quality.consistency, quality.raters], [nothing, nothing, []]);
  assert.deepEqual(await measureQuality(db, queue), quality);
});
