// How many items and reviews queues have.

import { and, count, inArray, isNull, sum } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { queue_items } from '../database/schema.ts';
import type { QueueRow } from './queues.ts';

export type QueueCounts = {
  items: { rated: { pending: number; open: number; done: number; dropped: number }; gold: number; calibration: number };
  /** `needed`: in all, of the items that were not dropped */
  reviews: { done: number; needed: number };
};

export async function countItems(
  db: Pick<Database, 'select'>,
  queues: Pick<QueueRow, 'id' | 'settings'>[],
): Promise<Map<string, QueueCounts>> {
  if (queues.length === 0) return new Map();
  const { queue_id, kind, state } = queue_items;
  const ids = queues.map(({ id }) => id);
  const rows = await db
    .select({ queue_id, kind, state, items: count(), reviews: sum(queue_items.reviews).mapWith(Number) })
    .from(queue_items)
    .where(and(inArray(queue_id, ids), isNull(queue_items.erased_at)))
    .groupBy(queue_id, kind, state);
  return new Map(
    queues.map(({ id, settings }) => {
      const counts: QueueCounts = {
        items: { rated: { pending: 0, open: 0, done: 0, dropped: 0 }, gold: 0, calibration: 0 },
        reviews: { done: 0, needed: 0 },
      };
      for (const row of rows.filter((row) => row.queue_id === id)) {
        if (row.kind !== 'rated') counts.items[row.kind] += row.items;
        else {
          counts.items.rated[row.state] = row.items;
          counts.reviews.done += row.reviews;
          if (row.state !== 'dropped') counts.reviews.needed += row.items * settings.reviews;
        }
      }
      return [id, counts];
    }),
  );
}
