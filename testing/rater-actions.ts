// What raters do in a queue, without the API: they reserve items, vote and undo, and let reservations expire.

import assert from 'node:assert/strict';
import { eq, sql } from 'drizzle-orm';
import { type CastVote, castVote, undoVote } from '../edge/queues/cast-vote.ts';
import type { Database } from '../shared/database/connect.ts';
import { queue_items, reservations } from '../shared/database/schema.ts';
import type { QueueRow } from '../shared/queues/queues.ts';
import { type ReservationRow, reserveItem } from '../shared/queues/reserve.ts';

const OWNER = { tenant: 'default', created_by: 'key_backend' };
const VOTE: CastVote = {
  choice: 'a',
  strength: null,
  tags: [],
  comment: null,
  edit: null,
  seconds: 1,
  redacted: false,
};

export function openRaterActions(db: Database) {
  const reserve = (queue: QueueRow, rater: string, options?: { ahead: boolean }) =>
    reserveItem(db, queue.id, rater, OWNER, options);
  return {
    reserve,
    async take(queue: QueueRow, rater = 'user:ann', options?: { ahead: boolean }): Promise<ReservationRow> {
      const result = await reserve(queue, rater, options);
      assert.ok(result && 'reservation' in result, JSON.stringify(result));
      return result.reservation;
    },
    vote: (reservation: ReservationRow, fields: Partial<CastVote> = {}) =>
      db.transaction((transaction) => castVote(transaction, reservation, { ...VOTE, ...fields })),
    undo: (reservation: ReservationRow) => db.transaction((transaction) => undoVote(transaction, reservation)),
    expire: (reservation: ReservationRow) =>
      db
        .update(reservations)
        .set({ expires_at: sql`now() - interval '1 second'` })
        .where(eq(reservations.id, reservation.id)),
    findItem: async (id: string) => (await db.select().from(queue_items).where(eq(queue_items.id, id)))[0]!,
  };
}
