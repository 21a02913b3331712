// What an erasure blanks of queues: items whose texts are the subject's, the rater's reservations, and the queues of a key. Raters
// lock their queue, their standing, an item and its reservation in this order, and so does an erasure.
import { and, asc, eq, inArray, isNotNull, isNull, or, type SQL, sql } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { preferences, queue_guidelines, queue_items, queues, reservations } from '../database/schema.ts';
import { queueSettingsSchema } from '../queue-settings.ts';
import type { BlankedPreference } from './blank-rows.ts';
import { toChunks } from './find-rows.ts';
import { getRaterName, isRaterId, type Subject } from './subject.ts';

type QueueRows = { items?: SQL | undefined; reservations?: SQL | undefined; queues?: SQL | undefined };

/** The rows that are the subject's own; undefined: none of this table. */
export function matchQueueRows(subject: Subject): QueueRows {
  const { kind, value, tenant } = subject;
  const name = getRaterName(subject);
  const isBy = name === null ? undefined : and(eq(reservations.tenant, tenant), eq(reservations.rater, name));
  const isStored = and(eq(reservations.tenant, tenant), eq(reservations.created_by, value));
  if (isBy) return { reservations: kind === 'rater' && isRaterId(value) ? or(isBy, isStored) : isBy };
  if (kind !== 'key') return {};
  return {
    items: and(eq(queue_items.tenant, tenant), eq(queue_items.created_by, value)),
    reservations: isStored,
    queues: and(eq(queues.tenant, tenant), eq(queues.created_by, value)),
  };
}

/** Ids of queues; their names are taken by them, since a tenant has each name once. */
export async function blankQueues(transaction: Database, own: SQL | undefined, erasedAt: SQL<Date>): Promise<string[]> {
  if (!own) return [];
  const settings = queueSettingsSchema.parse({});
  const blanked = await transaction
    .update(queues)
    .set({ name: sql`'erased:' || ${queues.id}`, status: 'closed', settings, erased_at: erasedAt })
    .where(and(own, isNull(queues.erased_at)))
    .returning({ id: queues.id });
  const ids = blanked.map(({ id }) => id);
  for (const chunk of toChunks(ids))
    await transaction.update(queue_guidelines).set({ text: '' }).where(inArray(queue_guidelines.queue_id, chunk));
  return ids;
}

/** The items on which the subject has voted, by the reservations and the votes. */
export async function listReservedItems(
  transaction: Database,
  ownReservations: SQL | undefined,
  ownPreferences: SQL | undefined,
): Promise<string[]> {
  if (!ownReservations && !ownPreferences) return [];
  const ofVotes = transaction
    .select({ id: preferences.reservation_id })
    .from(preferences)
    .where(and(ownPreferences, isNotNull(preferences.reservation_id)));
  const rows = await transaction
    .selectDistinct({ id: reservations.item_id })
    .from(reservations)
    .where(
      and(
        or(ownReservations, ownPreferences && inArray(reservations.id, ofVotes)),
        inArray(reservations.state, ['voted', 'skipped']),
        isNull(reservations.erased_at),
      ),
    );
  return rows.map(({ id }) => id);
}

/** Keeps the responses to them from being stored, and reservations and votes out, until the transaction ends. */
export async function lockItems(transaction: Database, ids: string[]): Promise<void> {
  for (const chunk of toChunks(ids))
    await transaction
      .select({ id: queue_items.id })
      .from(queue_items)
      .where(inArray(queue_items.id, chunk))
      .orderBy(asc(queue_items.id))
      .for('update');
}

/** With their reservations, which quote them. Returns the ids of both. */
export async function blankItems(transaction: Database, ids: string[], erasedAt: SQL<Date>): Promise<string[]> {
  const blanked: string[] = [];
  for (const chunk of toChunks(ids)) {
    const rows = await transaction
      .update(queue_items)
      .set({
        prompt: '',
        // As that of an erased preference: a hash of a short text tells the text, and the text may be imported again.
        content_hash: sql`${queue_items.id}`,
        prompt_group: '',
        given: null,
        explanation: null,
        state: 'dropped',
        reason: 'erased',
        erased_at: erasedAt,
      })
      .where(and(inArray(queue_items.id, chunk), isNull(queue_items.erased_at)))
      .returning({ id: queue_items.id });
    blanked.push(...rows.map(({ id }) => id));
    blanked.push(...(await blankReservations(transaction, inArray(reservations.item_id, chunk), erasedAt)));
  }
  return blanked;
}

/** An item that was reserved or voted on is free again. Of an erased vote nobody knows whose it was: its rater may get it too. */
export async function blankReservations(
  transaction: Database,
  own: SQL | undefined,
  erasedAt: SQL<Date>,
): Promise<string[]> {
  if (!own) return [];
  const rows = await transaction
    .update(reservations)
    .set({
      rater: sql`'erased:' || ${reservations.id}`,
      remarks: null,
      state: sql`case when ${reservations.state} = 'open' then 'lapsed' else ${reservations.state} end`,
      erased_at: erasedAt,
    })
    .where(and(own, isNull(reservations.erased_at)))
    .returning();
  await freePlaces(transaction, rows);
  return rows.map(({ id }) => id);
}

/** Of items that were locked (lockItems). */
async function freePlaces(transaction: Database, rows: (typeof reservations.$inferSelect)[]): Promise<void> {
  const isVote = ({ purpose, requeued }: (typeof rows)[number]) => purpose === 'vote' && !requeued;
  const counted = rows.filter((row) => isVote(row) && (row.state === 'voted' || row.state === 'skipped'));
  for (const chunk of toChunks(counted)) {
    const places = JSON.stringify(chunk.map(({ item_id: item, state }) => ({ item, is_review: state === 'voted' })));
    const freed = sql`(select item, count(*) filter (where is_review)::int as reviews, count(*) filter (where not is_review)::int as skips
      from jsonb_to_recordset(${places}::jsonb) as place (item text, is_review boolean) group by item) as freed`;
    const left = sql`${queue_items.reviews} - freed.reviews`;
    const isMissing = sql`${left} < (${queues.settings}->>'reviews')::int`;
    await transaction
      .update(queue_items)
      .set({
        reviews: left,
        skips: sql`${queue_items.skips} - freed.skips`,
        state: sql`case when ${queue_items.state} = 'done' and ${isMissing} then 'open' else ${queue_items.state} end`,
      })
      .from(queues)
      .innerJoin(freed, sql`true`)
      .where(
        and(eq(queues.id, queue_items.queue_id), sql`${queue_items.id} = freed.item`, isNull(queue_items.erased_at)),
      );
  }
}

/** The reservations that these votes were given through: they name the rater. That of an edit alone stays with its vote. */
export async function blankReservationsOf(
  transaction: Database,
  erased: BlankedPreference[],
  erasedAt: SQL<Date>,
): Promise<string[]> {
  const listIds = (rows: BlankedPreference[]) => rows.flatMap(({ reservation_id: id }) => id ?? []);
  const votes = listIds(erased.filter(({ edit_of }) => edit_of === null));
  for (const chunk of toChunks(votes)) await blankReservations(transaction, inArray(reservations.id, chunk), erasedAt);
  return [...new Set(listIds(erased))];
}
