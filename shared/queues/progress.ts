// How far a queue is, and one rater in it.

import { and, countDistinct, eq, inArray, ne, sql } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { preferences, queue_items, type ReservationState, reservations } from '../database/schema.ts';
import { countItems } from './count-items.ts';
import type { QueueRow } from './queues.ts';
import { type Calibration, findStanding, measureCalibration } from './rater-standing.ts';

export type Progress = {
  /** votes of every purpose but calibration, so that they do not tell which items are gold */
  mine: { done: number; skipped: number; seconds_median: number | null };
  /** with the votes of this rater that measure the rater, for the same reason: every vote adds one, until all are done */
  team: { done: number; needed: number; raters: number };
  /** for the items that the rater may still be given, at the rater's pace; every vote or skip takes one off */
  seconds_left_mine: number | null;
  paused: { reason: string } | null;
  calibration: Calibration | null;
};

type Reader = Pick<Database, 'select' | 'execute'>;

export async function findProgress(db: Reader, queue: QueueRow, rater: string): Promise<Progress> {
  const seconds = sql`coalesce(${preferences.seconds}, ${reservations.seconds})`;
  const [mine] = await db
    .select({
      done: sql<number>`count(*) filter (where ${reservations.state} = 'voted')`.mapWith(Number),
      skipped: sql<number>`count(*) filter (where ${reservations.state} = 'skipped')`.mapWith(Number),
      measuring: countMeasuring(['voted', 'skipped']),
      measured: countMeasuring(['voted']),
      median: sql<number | null>`percentile_cont(0.5) within group (order by ${seconds})`,
    })
    .from(reservations)
    .leftJoin(preferences, and(eq(preferences.reservation_id, reservations.id), eq(preferences.source, 'comparison')))
    .where(
      and(eq(reservations.queue_id, queue.id), eq(reservations.rater, rater), ne(reservations.purpose, 'calibration')),
    );
  const [team] = await db
    .select({ raters: countDistinct(reservations.rater) })
    .from(reservations)
    .where(and(eq(reservations.queue_id, queue.id), inArray(reservations.state, ['voted', 'skipped'])));
  const counts = (await countItems(db, [queue])).get(queue.id)!;
  const standing = await findStanding(db, queue.id, rater);
  const { done, needed } = counts.reviews;
  const median = mine!.median === null ? null : Number(mine!.median);
  const left = Math.max(0, (await countLeft(db, queue, rater)) - mine!.measuring);
  return {
    mine: { done: mine!.done, skipped: mine!.skipped, seconds_median: median },
    team: { done: Math.min(done + mine!.measured, Math.max(done, needed)), needed, raters: team!.raters },
    seconds_left_mine: median === null ? null : median * left,
    paused: standing?.paused_at ? { reason: standing.paused_reason ?? '' } : null,
    calibration: await measureCalibration(db, queue, rater),
  };
}

/** Of gold and repeated items, which look like any other. */
function countMeasuring(states: ReservationState[]) {
  const isMeasuring = and(ne(reservations.purpose, 'vote'), inArray(reservations.state, states));
  return sql<number>`count(*) filter (where ${isMeasuring})`.mapWith(Number);
}

async function countLeft(db: Reader, { id, settings }: QueueRow, rater: string): Promise<number> {
  const [row] = await db.execute<{ count: string | number }>(sql`
    select count(*) as count from ${queue_items} as item
    where queue_id = ${id} and kind = 'rated' and state in ('pending', 'open') and erased_at is null
      and reviews < ${settings.reviews} and not exists (
        select from ${reservations} as own where own.item_id = item.id and own.rater = ${rater}
          and own.state in ('voted', 'skipped'))`);
  return Number(row!.count);
}
