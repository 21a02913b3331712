// Who may rate in a queue, and how a rater stands there: calibrated, paused and why.

import { and, count, desc, eq, inArray, isNull, sql } from 'drizzle-orm';
import { notifyChange } from '../database/channels.ts';
import type { Database } from '../database/connect.ts';
import { queue_items, queue_raters, raters, reservations } from '../database/schema.ts';
import type { QueueSettings } from '../queue-settings.ts';
import { writeEvent } from '../webhooks/event.ts';
import type { QueueRow } from './queues.ts';

export type Standing = typeof queue_raters.$inferSelect;

/** `done`: calibration items that the rater has answered, `items`: how many there are to answer. */
export type Calibration = { done: number; items: number; accuracy: number | null };

type Reader = Pick<Database, 'select'>;

/** `rater`: as preferences.rater names them. */
export async function isAllowed(
  db: Reader,
  { raters: ids, skills }: Pick<QueueSettings, 'raters' | 'skills'>,
  rater: string,
): Promise<boolean> {
  if ((ids.length === 0 && skills.length === 0) || ids.includes(rater)) return true;
  if (skills.length === 0) return false;
  const [row] = await db.select({ skills: raters.skills }).from(raters).where(eq(raters.id, rater));
  return row?.skills.some((skill) => skills.includes(skill)) ?? false;
}

/** Until the transaction ends, nothing else is reserved by or voted on by this rater in this queue. */
export async function lockStanding(transaction: Database, queueId: string, rater: string): Promise<Standing> {
  await transaction.insert(queue_raters).values({ queue_id: queueId, rater }).onConflictDoNothing();
  const [row] = await transaction.select().from(queue_raters).where(isOf(queueId, rater)).for('update');
  return row!;
}

export async function findStanding(db: Reader, queueId: string, rater: string): Promise<Standing | null> {
  const [row] = await db.select().from(queue_raters).where(isOf(queueId, rater));
  return row ?? null;
}

/** `reason`: what the rater is told. One event, also if the rater is paused again for another reason. */
export async function pauseRater(
  transaction: Database,
  queueId: string,
  rater: string,
  reason: string,
): Promise<Standing> {
  const { paused_at: pausedBefore } = await lockStanding(transaction, queueId, rater);
  const paused = { paused_at: sql`clock_timestamp()`, paused_reason: reason };
  const [row] = await transaction.update(queue_raters).set(paused).where(isOf(queueId, rater)).returning();
  if (pausedBefore) return row!;
  // Who is known by a name only is not named: the event outlives an erasure.
  const id = rater.startsWith('rater_') ? rater : null;
  await writeEvent(transaction, 'rater.paused', { queue: queueId, rater: id, reason });
  await notifyChange(transaction, queueId);
  return row!;
}

/** Whose calibration need not be repeated, and whose earlier gold items no longer count. */
export async function resumeRater(transaction: Database, queueId: string, rater: string): Promise<Standing> {
  const now = sql<Date>`clock_timestamp()`;
  const set = {
    paused_at: null,
    paused_reason: null,
    resumed_at: now,
    calibrated_at: sql`coalesce(${queue_raters.calibrated_at}, clock_timestamp())`,
  };
  const [row] = await transaction
    .insert(queue_raters)
    .values({ queue_id: queueId, rater, resumed_at: now, calibrated_at: now })
    .onConflictDoUpdate({ target: [queue_raters.queue_id, queue_raters.rater], set })
    .returning();
  return row!;
}

/** Null if the queue has no calibration. An item that was skipped was not answered right. */
export async function measureCalibration(db: Reader, queue: QueueRow, rater: string): Promise<Calibration | null> {
  const wanted = queue.settings.calibration.items;
  if (wanted === 0) return null;
  const isCalibration = and(
    eq(queue_items.queue_id, queue.id),
    eq(queue_items.kind, 'calibration'),
    isNull(queue_items.erased_at),
  );
  const [available] = await db.select({ count: count() }).from(queue_items).where(isCalibration);
  const items = Math.min(wanted, available!.count);
  if (items === 0) return null;
  const isRight = sql<number>`count(*) filter (where ${reservations.choice} = ${queue_items.expected})`.mapWith(Number);
  const [answers] = await db
    .select({ done: count(), right: isRight })
    .from(reservations)
    .innerJoin(queue_items, eq(queue_items.id, reservations.item_id))
    .where(and(isFinished(queue.id, rater), eq(reservations.purpose, 'calibration')));
  const { done, right } = answers!;
  return { done: Math.min(done, items), items, accuracy: done === 0 ? null : right / done };
}

/** After a calibration item, or before the first other one: the rater is calibrated, or paused, or goes on. */
export async function settleCalibration(
  transaction: Database,
  queue: QueueRow,
  standing: Standing,
): Promise<{ standing: Standing; isOpen: boolean }> {
  if (standing.calibrated_at) return { standing, isOpen: false };
  const calibration = await measureCalibration(transaction, queue, standing.rater);
  if (calibration && calibration.done < calibration.items) return { standing, isOpen: true };
  const needed = queue.settings.calibration.accuracy;
  const [row] = await transaction
    .update(queue_raters)
    .set({ calibrated_at: sql`clock_timestamp()` })
    .where(isOf(queue.id, standing.rater))
    .returning();
  if (!calibration || calibration.accuracy! >= needed) return { standing: row!, isOpen: false };
  const reason =
    `calibration: ${formatShare(calibration.accuracy!)} of ${calibration.items} items right, and this queue asks for ` +
    `${formatShare(needed)}; read the guidelines again, and ask whoever runs the queue to let you go on`;
  return { standing: await pauseRater(transaction, queue.id, standing.rater, reason), isOpen: false };
}

/** After a gold item: pauses a rater who had too many of the last ones wrong. A skip is no right answer. */
export async function checkGold(transaction: Database, queue: QueueRow, standing: Standing): Promise<Standing> {
  const { gold_accuracy: needed, gold_items: wanted } = queue.settings.pause;
  const after = standing.resumed_at;
  const last = await transaction
    .select({ choice: reservations.choice, expected: queue_items.expected })
    .from(reservations)
    .innerJoin(queue_items, eq(queue_items.id, reservations.item_id))
    .where(
      and(
        isFinished(queue.id, standing.rater),
        eq(reservations.purpose, 'gold'),
        after ? sql`${reservations.finished_at} > ${after.toISOString()}::timestamptz` : undefined,
      ),
    )
    .orderBy(desc(reservations.finished_at))
    .limit(wanted);
  const accuracy = last.filter(({ choice, expected }) => choice === expected).length / last.length;
  if (last.length < wanted || accuracy >= needed) return standing;
  const reason =
    `${formatShare(accuracy)} of the last ${wanted} items whose answer is known were right, and this queue asks for ` +
    `${formatShare(needed)}; read the guidelines again, and ask whoever runs the queue to let you go on`;
  return pauseRater(transaction, queue.id, standing.rater, reason);
}

function isOf(queueId: string, rater: string) {
  return and(eq(queue_raters.queue_id, queueId), eq(queue_raters.rater, rater));
}

function isFinished(queueId: string, rater: string) {
  return and(
    eq(reservations.queue_id, queueId),
    eq(reservations.rater, rater),
    inArray(reservations.state, ['voted', 'skipped']),
  );
}

function formatShare(share: number): string {
  return `${Math.round(share * 100)}%`;
}
