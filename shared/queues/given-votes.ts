// Every vote that raters gave in a queue: those that count, and those that measure the rater.

import { and, asc, eq, isNotNull, isNull, or, sql } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import {
  type Choice,
  preferences,
  queue_items,
  type ReservationPurpose,
  reservations,
  type Strength,
} from '../database/schema.ts';

export type GivenChoice = Exclude<Choice, 'skip'>;

export type GivenVote = {
  rater: string;
  item: string;
  comparison: string | null;
  purpose: ReservationPurpose;
  /** whether side a was shown as b */
  swapped: boolean;
  /** in terms of the comparison's sides, as the next */
  choice: GivenChoice;
  strength: Strength | null;
  seconds: number | null;
  /** the right choice of a gold or calibration item */
  expected: Choice | null;
};

/** In the order in which they were reserved. Skips are not among them. */
export async function readGivenVotes(db: Database, queueId: string): Promise<GivenVote[]> {
  const choice = sql<GivenChoice>`coalesce(${preferences.choice}, ${reservations.choice})`;
  return db
    .select({
      rater: reservations.rater,
      item: reservations.item_id,
      comparison: queue_items.comparison_id,
      purpose: reservations.purpose,
      swapped: reservations.swapped,
      choice,
      strength: sql<Strength | null>`coalesce(${preferences.strength}, ${reservations.strength})`,
      seconds: sql<number | null>`coalesce(${preferences.seconds}, ${reservations.seconds})`,
      expected: queue_items.expected,
    })
    .from(reservations)
    .innerJoin(queue_items, eq(queue_items.id, reservations.item_id))
    .leftJoin(
      preferences,
      and(
        eq(preferences.reservation_id, reservations.id),
        eq(preferences.source, 'comparison'),
        isNull(preferences.erased_at),
      ),
    )
    .where(
      and(
        eq(reservations.queue_id, queueId),
        eq(reservations.state, 'voted'),
        isNull(reservations.erased_at),
        or(isNotNull(preferences.choice), isNotNull(reservations.choice)),
        sql`${choice} <> 'skip'`,
      ),
    )
    .orderBy(asc(reservations.id));
}
