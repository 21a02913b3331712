// How good the votes of a queue are: how far its raters agree with each other, with known answers and with themselves, how
// fast each of them votes, and whether one prefers a side of the screen. 95% intervals from the bootstrap over items.

import { and, count, eq, isNull } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import type { Interval } from '../database/round-types.ts';
import { queue_items, queue_raters, reservations } from '../database/schema.ts';
import { letOthersRun } from '../event-loop.ts';
import { agreesWithOthers } from '../statistics/agreement-with-others.ts';
import { cohenKappa } from '../statistics/cohen-kappa.ts';
import { estimate, estimateMean, type Statistic } from '../statistics/confidence-interval.ts';
import { krippendorffAlpha } from '../statistics/krippendorff-alpha.ts';
import { median } from '../statistics/median.ts';
import { addCounts, CHOICES, type ChoiceCounts, countByItem, sumCounts, toMajority } from './choice-counts.ts';
import { type GivenChoice, type GivenVote, readGivenVotes } from './given-votes.ts';

/** Null where there is nothing to measure, or too few items for an interval. */
export type Measure = { value: number | null; interval: Interval | null; count: number };

export type RaterQuality = {
  rater: string;
  votes: number;
  skips: number;
  /** share of the votes that are what most other raters of the item chose */
  agreement: Measure;
  gold: { accuracy: Measure; kappa: Measure };
  calibration: { accuracy: Measure };
  /** share of repeated items on which the second choice is the first */
  consistency: Measure;
  /** median, without those of calibration */
  seconds: Measure;
  /** share of A, as shown, among the votes for a side */
  side_bias: Measure;
  paused: { at: Date; reason: string | null } | null;
};

export type SplitItem = { item: string; comparison: string | null; votes: ChoiceCounts };

export type QueueQuality = {
  votes: ChoiceCounts & { total: number; skips: number };
  items: { voted: number; rated_by_several: number; dropped: number };
  /** Krippendorff's α; `count`: items that several raters voted on */
  agreement: { choice: Measure; strength: Measure };
  gold: { accuracy: Measure; kappa: Measure };
  consistency: Measure;
  raters: RaterQuality[];
  /** the most evenly split first */
  split: { count: number; items: SplitItem[] };
};

const STRENGTHS = { slightly: 1, clearly: 2, much: 3 };
/** From `b is much better` over `neither` to `a is much better`. */
const STRENGTH_LEVELS = 7;
const MAX_SPLIT_ITEMS = 100;

export async function measureQuality(db: Database, queueId: string): Promise<QueueQuality> {
  const given = await readGivenVotes(db, queueId);
  const votes = given.filter(({ purpose }) => purpose === 'vote');
  const skips = await countSkips(db, queueId);
  const standings = await db.select().from(queue_raters).where(eq(queue_raters.queue_id, queueId));
  const countsByItem = countByItem(votes);
  const several = [...countsByItem.values()].filter((counts) => sumCounts(counts) > 1);
  const choices = several.map((counts) => CHOICES.map((choice) => counts[choice]));
  const measured = {
    votes: { ...addCounts([...countsByItem.values()]), total: votes.length, skips: sumValues(skips) },
    items: { voted: countsByItem.size, rated_by_several: several.length, dropped: await countDropped(db, queueId) },
    agreement: {
      choice: await pauseBefore(() => measureAlpha(choices, 'nominal')),
      strength: await pauseBefore(() => measureAlpha(countStrengths(votes), 'ordinal')),
    },
    gold: await pauseBefore(() => compareWithExpected(given, 'gold')),
    consistency: await pauseBefore(() => measureConsistency(given)),
    split: findSplitItems(votes, countsByItem),
  };
  const byRater = Map.groupBy(given, ({ rater }) => rater);
  const names = new Set([...byRater.keys(), ...skips.keys(), ...standings.map(({ rater }) => rater)]);
  const raters: RaterQuality[] = [];
  for (const rater of [...names].sort()) {
    const own = byRater.get(rater) ?? [];
    const standing = standings.find((row) => row.rater === rater);
    raters.push({
      rater,
      votes: own.filter(({ purpose }) => purpose === 'vote').length,
      skips: skips.get(rater) ?? 0,
      ...(await pauseBefore(() => measureRater(own, countsByItem))),
      paused: standing?.paused_at ? { at: standing.paused_at, reason: standing.paused_reason } : null,
    });
  }
  return { ...measured, raters };
}

/** A bootstrap over many items takes a good part of a second. */
async function pauseBefore<T>(measure: () => T): Promise<T> {
  await letOthersRun();
  return measure();
}

function measureRater(own: readonly GivenVote[], countsByItem: ReadonlyMap<string, ChoiceCounts>) {
  const compared = own
    .filter(({ purpose }) => purpose === 'vote')
    .map(({ item, choice }) => ({ item, value: agreesWithOthers(countsByItem.get(item)!, choice) }))
    .filter((vote): vote is { item: string; value: boolean } => vote.value !== null);
  const sided = own.filter(({ choice }) => choice === 'a' || choice === 'b');
  const timed = own.filter(
    (vote): vote is GivenVote & { seconds: number } => vote.seconds !== null && vote.purpose !== 'calibration',
  );
  const { accuracy } = compareWithExpected(own, 'calibration');
  return {
    agreement: measureShare(compared),
    gold: compareWithExpected(own, 'gold'),
    calibration: { accuracy },
    consistency: measureConsistency(own),
    seconds: measure(
      timed.map(({ item }) => item),
      median(timed.map(({ seconds }) => seconds)),
    ),
    side_bias: measureShare(sided.map(({ item, choice, swapped }) => ({ item, value: (choice === 'a') !== swapped }))),
  };
}

/** A pair of the first and the second vote of each rater on an item that was repeated. */
function measureConsistency(given: readonly GivenVote[]): Measure {
  const first = new Map<string, GivenChoice>();
  const repeated: { item: string; value: boolean }[] = [];
  for (const { rater, item, purpose, choice } of given) {
    const key = JSON.stringify([rater, item]);
    const before = first.get(key);
    if (before === undefined) first.set(key, choice);
    else if (purpose === 'repeat') repeated.push({ item, value: choice === before });
  }
  return measureShare(repeated);
}

function compareWithExpected(given: readonly GivenVote[], wanted: 'gold' | 'calibration') {
  const known = given.filter(({ purpose, expected }) => purpose === wanted && expected !== null);
  return {
    accuracy: measureShare(known.map(({ item, choice, expected }) => ({ item, value: choice === expected }))),
    kappa: measure(
      known.map(({ item }) => item),
      cohenKappa(
        known.map(({ choice }) => choice),
        known.map(({ expected }) => expected!),
      ),
    ),
  };
}

function measureShare(votes: readonly { item: string; value: boolean }[]): Measure {
  if (votes.length === 0) return { value: null, interval: null, count: 0 };
  const values = votes.map(({ value }) => Number(value));
  return {
    ...estimateMean(
      values,
      votes.map(({ item }) => item),
    ),
    count: votes.length,
  };
}

/** `items`: of each vote. */
function measure(items: readonly string[], statistic: Statistic): Measure {
  const { value, interval } = estimate(items, statistic);
  return { value: Number.isNaN(value) ? null : value, interval, count: items.length };
}

function measureAlpha(counts: readonly (readonly number[])[], level: 'nominal' | 'ordinal'): Measure {
  const { value, interval } = estimate([...counts.keys()], krippendorffAlpha(counts, level));
  return { value: Number.isNaN(value) ? null : value, interval, count: counts.length };
}

/** Of the items with several votes that say how strong they are; a tie needs not to say it. */
function countStrengths(votes: readonly GivenVote[]): number[][] {
  const counts = new Map<string, number[]>();
  for (const { item, choice, strength } of votes) {
    const isSide = choice === 'a' || choice === 'b';
    if (isSide && strength === null) continue;
    const level = isSide ? 3 + STRENGTHS[strength!] * (choice === 'a' ? 1 : -1) : 3;
    const ofItem = counts.get(item) ?? Array<number>(STRENGTH_LEVELS).fill(0);
    ofItem[level]!++;
    counts.set(item, ofItem);
  }
  return [...counts.values()].filter((ofItem) => ofItem.reduce((total, value) => total + value, 0) > 1);
}

function findSplitItems(votes: readonly GivenVote[], countsByItem: ReadonlyMap<string, ChoiceCounts>) {
  const comparisons = new Map(votes.map(({ item, comparison }) => [item, comparison]));
  const items = [...countsByItem]
    .filter(([, counts]) => toMajority(counts) < 1)
    .map(([item, counts]): SplitItem => ({ item, comparison: comparisons.get(item) ?? null, votes: counts }))
    .sort(
      (one, other) => toMajority(one.votes) - toMajority(other.votes) || sumCounts(other.votes) - sumCounts(one.votes),
    );
  return { count: items.length, items: items.slice(0, MAX_SPLIT_ITEMS) };
}

const sumValues = (counts: ReadonlyMap<string, number>) =>
  [...counts.values()].reduce((total, value) => total + value, 0);

async function countSkips(db: Database, queueId: string): Promise<Map<string, number>> {
  const rows = await db
    .select({ rater: reservations.rater, count: count() })
    .from(reservations)
    .where(and(eq(reservations.queue_id, queueId), eq(reservations.state, 'skipped'), isNull(reservations.erased_at)))
    .groupBy(reservations.rater);
  return new Map(rows.map((row) => [row.rater, row.count]));
}

function countDropped(db: Database, queueId: string): Promise<number> {
  return db.$count(queue_items, and(eq(queue_items.queue_id, queueId), eq(queue_items.state, 'dropped')));
}
