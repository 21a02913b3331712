// Gives a rater an item of a queue: the one that the rater has still reserved, or a calibration item, a gold item, one voted
// on before, or the next one to be rated. No response is generated meanwhile, so no lock is held for long.

import { and, asc, eq, inArray, isNull, lte, ne, sql } from 'drizzle-orm';
import type { Owner } from '../access/owner.ts';
import type { Database } from '../database/connect.ts';
import { queue_items, type ReservationPurpose, reservations } from '../database/schema.ts';
import { newId } from '../id.ts';
import { drawUniform } from '../random.ts';
import { findEnd, findExclusion, type Refusal } from './admission.ts';
import { hasRoom, type ItemRow, lapseOthers, lockItem, lockOpenItem } from './lock-item.ts';
import { lockQueue, type QueueRow } from './queues.ts';
import { lockStanding, type Standing, settleCalibration } from './rater-standing.ts';
import { type Candidate, selectCandidates, selectMeasuring, selectRepeat } from './select-items.ts';

export type ReservationRow = typeof reservations.$inferSelect;

export type Reserved = { queue: QueueRow; reservation: ReservationRow; item: ItemRow };

/**
 * `owner`: the caller that reserves it, and the tenant of the queue. `ahead`: an item after the one that the rater has, so that
 * its sides are there when the rater comes to it; none while the rater is calibrated, whose items have theirs.
 */
export async function reserveItem(
  db: Database,
  queueId: string,
  rater: string,
  owner: Owner,
  { ahead = false } = {},
): Promise<Reserved | Refusal | null> {
  for (let skipLocked = true; ; skipLocked = !skipLocked) {
    // Each attempt in a transaction of its own: whoever waits for the lock of an item has no lock of another.
    const result = await db.transaction((transaction) =>
      tryReserve(transaction, queueId, rater, owner, { skipLocked, ahead }),
    );
    if (result !== 'again') return result;
  }
}

/** `again`: others had locked or taken the items. Null: there is no such queue. */
async function tryReserve(
  transaction: Database,
  queueId: string,
  rater: string,
  owner: Owner,
  { skipLocked, ahead }: { skipLocked: boolean; ahead: boolean },
): Promise<Reserved | Refusal | 'again' | null> {
  const queue = await lockQueue(transaction, queueId, 'share');
  if (!queue) return null;
  const closed = findEnd(queue) ?? (await findExclusion(transaction, queue, rater));
  if (closed) return closed;
  const { standing, isOpen: isCalibrating } = await settleCalibration(
    transaction,
    queue,
    await lockStanding(transaction, queueId, rater),
  );
  if (standing.paused_at) return { reason: 'paused', message: standing.paused_reason! };
  const own = await listOwn(transaction, queue, rater, owner);
  const kept = ahead && !isCalibrating ? own[1] : own[0];
  if (kept) return keep(transaction, queue, kept);
  const reserve = (chosen: { item: ItemRow; probability: number; swapped?: boolean }, purpose: ReservationPurpose) =>
    insertReservation(transaction, queue, standing, owner, chosen, purpose);

  if (isCalibrating) {
    const chosen = await find(transaction, await selectMeasuring(transaction, queueId, rater, 'calibration'));
    if (chosen) return reserve(chosen, 'calibration');
  }
  const candidates = await selectCandidates(transaction, queue, rater);
  if (candidates.length === 0) return describeEnd(transaction, queue);
  const { gold_share, repeat_share } = queue.settings;
  const draw = drawUniform();
  if (draw < gold_share) {
    const chosen = await find(transaction, await selectMeasuring(transaction, queueId, rater, 'gold'));
    if (chosen) return reserve(chosen, 'gold');
  } else if (draw < gold_share + repeat_share) {
    const repeat = await selectRepeat(transaction, queueId, rater);
    const chosen = await find(transaction, repeat);
    if (chosen) return reserve({ ...chosen, swapped: !repeat!.swapped }, 'repeat');
  }
  const ids = candidates.map(({ id }) => id);
  const item = await lockOpenItem(transaction, ids, queue, { skipLocked });
  if (!item || !(await hasRoom(transaction, item, queue))) return 'again';
  const { probability } = candidates.find(({ id }) => id === item.id)!;
  return reserve({ item, probability }, 'vote');
}

/** Prolongs a reservation that the rater has not lost; null if the item was given on. */
export async function prolong(
  transaction: Database,
  queue: QueueRow,
  reservation: ReservationRow,
): Promise<ReservationRow | null> {
  const item = await lockItem(transaction, reservation.item_id);
  if (!item || item.erased_at || item.state === 'dropped') return null;
  const [current] = await transaction
    .select()
    .from(reservations)
    .where(eq(reservations.id, reservation.id))
    .for('update');
  if (!current || current.erased_at || current.state === 'voted' || current.state === 'skipped') return null;
  // The place of one that is open was not given on, even if it has expired.
  const isLost = current.state === 'lapsed' && current.purpose === 'vote';
  if (isLost && !(await hasRoom(transaction, item, queue, current.rater))) return null;
  await lapseOthers(transaction, current);
  return reopen(transaction, queue, current.id);
}

/** With a new expiry. */
export async function reopen(transaction: Database, queue: QueueRow, id: string): Promise<ReservationRow> {
  const [row] = await transaction
    .update(reservations)
    .set({ state: 'open', requeued: false, finished_at: null, expires_at: expiry(queue) })
    .where(eq(reservations.id, id))
    .returning();
  return row!;
}

/** What the rater has reserved already, in another tab, before a reload or ahead; the oldest first. */
async function listOwn(
  transaction: Database,
  queue: QueueRow,
  rater: string,
  { created_by }: Owner,
): Promise<{ reservation: ReservationRow; item: ItemRow }[]> {
  const isOpen = and(
    eq(reservations.queue_id, queue.id),
    eq(reservations.rater, rater),
    eq(reservations.state, 'open'),
    // Another key that names the same rater may not vote on it.
    eq(reservations.created_by, created_by),
    isNull(reservations.erased_at),
  );
  const now = sql`clock_timestamp()`;
  await transaction
    .update(reservations)
    .set({ state: 'lapsed' })
    .where(and(isOpen, lte(reservations.expires_at, now)));
  return transaction
    .select({ reservation: reservations, item: queue_items })
    .from(reservations)
    .innerJoin(queue_items, eq(queue_items.id, reservations.item_id))
    .where(and(isOpen, isNull(queue_items.erased_at), ne(queue_items.state, 'dropped')))
    .orderBy(asc(reservations.id));
}

/** With the guidelines that its rater is shown now. It is still open: room is counted again only once it has expired. */
async function keep(
  transaction: Database,
  queue: QueueRow,
  { reservation, item }: { reservation: ReservationRow; item: ItemRow },
): Promise<Reserved | 'again'> {
  const [prolonged] = await transaction
    .update(reservations)
    .set({ expires_at: expiry(queue), guidelines_version: queue.guidelines_version })
    .where(and(eq(reservations.id, reservation.id), eq(reservations.state, 'open')))
    .returning();
  return prolonged ? { queue, reservation: prolonged, item } : 'again';
}

async function insertReservation(
  transaction: Database,
  queue: QueueRow,
  standing: Standing,
  { created_by }: Owner,
  { item, probability, swapped = drawUniform() < 0.5 }: { item: ItemRow; probability: number; swapped?: boolean },
  purpose: ReservationPurpose,
): Promise<Reserved> {
  const [reservation] = await transaction
    .insert(reservations)
    .values({
      id: newId('res_'),
      queue_id: queue.id,
      item_id: item.id,
      rater: standing.rater,
      purpose,
      swapped,
      probability,
      guidelines_version: queue.guidelines_version,
      expires_at: expiry(queue),
      tenant: queue.tenant,
      created_by,
    })
    .returning();
  return { queue, reservation: reservation!, item };
}

/** Without a lock: an item that measures raters has any number of reviews. */
async function find(
  transaction: Database,
  candidate: Candidate | null,
): Promise<{ item: ItemRow; probability: number } | null> {
  if (!candidate) return null;
  const [item] = await transaction.select().from(queue_items).where(eq(queue_items.id, candidate.id));
  return item ? { item, probability: candidate.probability } : null;
}

async function describeEnd(transaction: Database, queue: QueueRow): Promise<Refusal> {
  const isRated = and(eq(queue_items.queue_id, queue.id), eq(queue_items.kind, 'rated'), isNull(queue_items.erased_at));
  const open = await transaction.$count(queue_items, and(isRated, inArray(queue_items.state, ['pending', 'open'])));
  if (open > 0 || (await transaction.$count(queue_items, isRated)) === 0)
    return { reason: 'empty', message: 'there is no item for you in this queue at the moment' };
  return { reason: 'done', message: 'every item of this queue has its reviews, or was dropped' };
}

function expiry({ settings }: QueueRow) {
  return sql<Date>`clock_timestamp() + make_interval(secs => ${settings.reservation_seconds})`;
}
