// Offers items again, when an operator asks for it: those of a list for another set of reviews, skipped ones to those who
// skipped them, and those that one rater has voted on to somebody else. Votes stay; they no longer count to the reviews.

import { and, eq, inArray, ne, type SQL, sql } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { queue_items, reservations } from '../database/schema.ts';
import { AttuneError } from '../error.ts';
import type { QueueRow } from './queues.ts';

export type Requeue = { items?: string[] | undefined; skipped?: boolean | undefined; rater?: string | undefined };

/** Of a locked queue (lockQueue). Returns how many items are offered again. */
export async function requeue(
  transaction: Database,
  queue: QueueRow,
  { items, skipped, rater }: Requeue,
): Promise<number> {
  const offered = new Set<string>();
  if (items) for (const id of await restartItems(transaction, queue, items)) offered.add(id);
  if (skipped) for (const id of await offerSkipped(transaction, queue)) offered.add(id);
  if (rater !== undefined) for (const id of await discountRater(transaction, queue, rater)) offered.add(id);
  return offered.size;
}

/** One that was dropped gets other responses. */
async function restartItems(transaction: Database, queue: QueueRow, ids: string[]): Promise<string[]> {
  const rows = await transaction
    .update(queue_items)
    .set({ reviews: 0, reason: null, state: openState })
    .where(and(isRated(queue), inArray(queue_items.id, ids)))
    .returning({ id: queue_items.id });
  const found = new Set(rows.map(({ id }) => id));
  const unknown = ids.find((id) => !found.has(id));
  if (unknown !== undefined)
    throw new AttuneError(
      `items: ${queue.id} has no rated item ${unknown}; GET /v1/queues/${queue.id}/items lists them`,
      {
        status: 404,
        param: 'items',
        code: 'not_found',
      },
    );
  await transaction
    .update(reservations)
    .set({ requeued: true })
    .where(and(isVote(queue), eq(reservations.state, 'voted'), inArray(reservations.item_id, ids)));
  return [...found];
}

async function offerSkipped(transaction: Database, queue: QueueRow): Promise<string[]> {
  const rows = await transaction
    .update(reservations)
    .set({ state: 'lapsed' })
    .where(and(isVote(queue), eq(reservations.state, 'skipped')))
    .returning({ id: reservations.item_id });
  await subtract(transaction, queue, rows, { skips: sql`${queue_items.skips} - freed.places` });
  return rows.map(({ id }) => id);
}

async function discountRater(transaction: Database, queue: QueueRow, rater: string): Promise<string[]> {
  const isCounted = and(eq(reservations.state, 'voted'), eq(reservations.requeued, false));
  const rows = await transaction
    .update(reservations)
    .set({ requeued: true })
    .where(and(isVote(queue), isCounted, eq(reservations.rater, rater)))
    .returning({ id: reservations.item_id });
  const reviews = sql`${queue_items.reviews} - freed.places`;
  // It may have more reviews than the queue asks for now.
  const state = sql`case when ${reviews} >= ${queue.settings.reviews} then 'done' else ${openState} end`;
  await subtract(transaction, queue, rows, { reviews, state });
  return rows.map(({ id }) => id);
}

const openState = sql`case when ${queue_items.comparison_id} is null then 'pending' else 'open' end`;

/** `rows`: the item of each place that is free again. */
async function subtract(
  transaction: Database,
  queue: QueueRow,
  rows: { id: string }[],
  changes: { reviews?: SQL; skips?: SQL; state?: SQL },
): Promise<void> {
  if (rows.length === 0) return;
  const freed = sql`(select item.id, count(*)::int as places from
    jsonb_array_elements_text(${JSON.stringify(rows.map(({ id }) => id))}::jsonb) as item (id) group by item.id) as freed`;
  await transaction
    .update(queue_items)
    .set(changes)
    .from(freed)
    .where(and(isRated(queue), sql`${queue_items.id} = freed.id`));
}

function isRated({ id }: QueueRow) {
  return and(eq(queue_items.queue_id, id), eq(queue_items.kind, 'rated'), sql`${queue_items.erased_at} is null`);
}

function isVote({ id }: QueueRow) {
  return and(eq(reservations.queue_id, id), eq(reservations.purpose, 'vote'), ne(reservations.state, 'lapsed'));
}
