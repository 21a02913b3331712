// The votes on items: preferences of their comparisons, and those that measure raters, which stay with the reservation.

import { and, eq, inArray, isNull, or, sql } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import {
  type Choice,
  preferences,
  queue_items,
  type Remarks,
  reservations,
  type Strength,
} from '../database/schema.ts';
import { listEdits } from '../preferences/vote-details.ts';
import type { ItemRow } from './lock-item.ts';

/** In terms of the comparison's own sides. */
export type ItemVote = {
  item: string;
  reservation: string;
  /** null: a vote that is no preference */
  preference: string | null;
  rater: string;
  purpose: (typeof reservations.$inferSelect)['purpose'];
  choice: Choice;
  strength: Strength | null;
  seconds: number | null;
  /** whether side a was shown as b */
  swapped: boolean;
  probability: number;
  guidelines_version: number;
  created_at: Date;
} & Remarks;

export type VoteCounts = Record<Choice, number>;

/** Whether raters have preferred different sides of the comparison, or one of them none. */
export const isSplit = sql`(select count(distinct ${preferences.choice}) from ${preferences}
  where ${preferences.comparison_id} = ${queue_items.comparison_id} and ${preferences.choice} <> 'skip') > 1`;

/** Of these items, oldest first; what was erased is left out. */
export async function listVotes(db: Pick<Database, 'select'>, items: Pick<ItemRow, 'id'>[]): Promise<ItemVote[]> {
  if (items.length === 0) return [];
  const ids = items.map(({ id }) => id);
  const isVote = and(eq(preferences.reservation_id, reservations.id), eq(preferences.source, 'comparison'));
  const rows = await db
    .select({ reservation: reservations, vote: preferences })
    .from(reservations)
    .leftJoin(preferences, isVote)
    .where(
      and(
        inArray(reservations.item_id, ids),
        inArray(reservations.state, ['voted', 'skipped']),
        isNull(reservations.erased_at),
        or(isNull(preferences.id), isNull(preferences.erased_at)),
      ),
    )
    .orderBy(reservations.finished_at, reservations.id);
  const edits = await listEdits(
    db,
    rows.flatMap(({ vote }) => vote?.id ?? []),
  );
  return rows.map(({ reservation, vote }) => {
    const { remarks } = reservation;
    return {
      item: reservation.item_id,
      reservation: reservation.id,
      preference: vote?.id ?? null,
      rater: reservation.rater,
      purpose: reservation.purpose,
      choice: vote?.choice ?? reservation.choice ?? 'skip',
      strength: vote?.strength ?? reservation.strength,
      tags: vote?.tags ?? remarks?.tags ?? [],
      comment: vote?.comment ?? remarks?.comment ?? null,
      edit: (vote ? edits.get(vote.id)?.text : remarks?.edit) ?? null,
      seconds: vote?.seconds ?? reservation.seconds,
      swapped: reservation.swapped,
      probability: reservation.probability,
      guidelines_version: reservation.guidelines_version,
      created_at: reservation.finished_at ?? reservation.created_at,
    };
  });
}

/** Of each item; repeats and what a rater skipped before a requeue do not count. */
export function countVotes(votes: ItemVote[]): Map<string, VoteCounts> {
  const counts = new Map<string, VoteCounts>();
  for (const { item, choice, purpose } of votes) {
    if (purpose === 'repeat') continue;
    const own = counts.get(item) ?? { a: 0, b: 0, tie: 0, both_bad: 0, skip: 0 };
    own[choice]++;
    counts.set(item, own);
  }
  return counts;
}
