// Locks an item, and counts whether it has room for one more review. Whoever gives out, frees or fills a place of an item
// has locked it first, so that it never gets more reviews than its queue asks for.

import { and, eq, inArray, isNull, lt, ne, sql } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { queue_items, reservations } from '../database/schema.ts';
import type { QueueRow } from './queues.ts';

export type ItemRow = typeof queue_items.$inferSelect;

/** The first of them that still needs reviews; `skipLocked`: and that nobody else has locked. Null if there is none. */
export async function lockOpenItem(
  transaction: Database,
  ids: string[],
  { settings }: QueueRow,
  { skipLocked }: { skipLocked: boolean },
): Promise<ItemRow | null> {
  const list = sql.join(
    ids.map((id) => sql`${id}`),
    sql`, `,
  );
  const isOpen = and(
    sql`${queue_items.id} in (${list})`,
    inArray(queue_items.state, ['pending', 'open']),
    lt(queue_items.reviews, settings.reviews),
    isNull(queue_items.erased_at),
  );
  const [row] = await transaction
    .select()
    .from(queue_items)
    .where(isOpen)
    .orderBy(sql`array_position(array[${list}]::text[], ${queue_items.id})`)
    .limit(1)
    .for('update', skipLocked ? { skipLocked } : {});
  return row ?? null;
}

export async function lockItem(transaction: Database, id: string): Promise<ItemRow | null> {
  const [row] = await transaction.select().from(queue_items).where(eq(queue_items.id, id)).for('update');
  return row ?? null;
}

/** Of a locked item. Reservations that have expired lapse. `rater`: for whom there is room, beside those of others. */
export async function hasRoom(
  transaction: Database,
  item: ItemRow,
  { settings }: QueueRow,
  rater?: string,
): Promise<boolean> {
  if (item.erased_at || item.state === 'dropped') return false;
  const isOpen = and(eq(reservations.item_id, item.id), eq(reservations.state, 'open'));
  await transaction
    .update(reservations)
    .set({ state: 'lapsed' })
    .where(and(isOpen, sql`${reservations.expires_at} <= clock_timestamp()`));
  // A statement of its own, which sees what was committed before the item was locked. One that a heartbeat has prolonged in
  // this moment is still open.
  const isOfOthers = rater === undefined ? undefined : ne(reservations.rater, rater);
  const open = await transaction.$count(reservations, and(isOpen, eq(reservations.purpose, 'vote'), isOfOthers));
  return item.reviews + open < settings.reviews;
}

/** A rater who goes on with one reservation of a locked item has no other one of it: its place would stay taken for nothing. */
export async function lapseOthers(
  transaction: Database,
  { id, item_id, rater }: Pick<typeof reservations.$inferSelect, 'id' | 'item_id' | 'rater'>,
): Promise<void> {
  await transaction
    .update(reservations)
    .set({ state: 'lapsed' })
    .where(
      and(
        eq(reservations.item_id, item_id),
        eq(reservations.rater, rater),
        eq(reservations.state, 'open'),
        ne(reservations.id, id),
      ),
    );
}
