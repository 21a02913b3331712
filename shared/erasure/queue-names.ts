// What an erasure removes of the names of raters in queues: how they stand there, and where settings and stored responses list
// them. Queues are locked before raters' standing, as by whoever votes.
import { and, asc, eq, inArray, or, sql } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { idempotency_keys, queue_raters, queues, webhook_events } from '../database/schema.ts';
import { getRaterName, isRaterId, type Subject } from './subject.ts';

/** How many there were. `erasedQueues`: sorted ids of those that the erasure has blanked. */
export async function forgetStanding(transaction: Database, subject: Subject, erasedQueues: string[]): Promise<number> {
  const named = await forgetInSettings(transaction, subject);
  const name = getRaterName(subject);
  const isOwn = name === null ? undefined : and(eq(queue_raters.rater, name), isOfTenant(transaction, subject));
  const isOfErased = erasedQueues.length === 0 ? undefined : inArray(queue_raters.queue_id, erasedQueues);
  if (!isOwn && !isOfErased) return named;
  const gone = await transaction.delete(queue_raters).where(or(isOwn, isOfErased)).returning();
  return named + gone.length;
}

/** With what an operator wrote about them; who is known by a name only is not in them. */
export async function forgetInEvents(transaction: Database, subject: Subject): Promise<void> {
  const name = getRaterName(subject);
  if (name === null || !isRaterId(name)) return;
  const { type, data } = webhook_events;
  await transaction.delete(webhook_events).where(and(eq(type, 'rater.paused'), eq(sql`${data} ->> 'rater'`, name)));
}

/** Also of settings that the queue no longer has. */
export async function forgetInResponses(transaction: Database, subject: Subject): Promise<void> {
  const name = getRaterName(subject);
  if (name === null) return;
  const own = transaction.select({ id: queues.id }).from(queues).where(eq(queues.tenant, subject.tenant));
  await transaction.delete(idempotency_keys).where(
    and(
      sql`${idempotency_keys.resource_ids} && array(${own})`,
      // As text: jsonb takes no NUL.
      sql`position(${JSON.stringify(name)} in ${idempotency_keys.response}::text) > 0`,
    ),
  );
}

/** Another name stays in its place, since an empty list would open the queue to every rater. */
async function forgetInSettings(transaction: Database, subject: Subject): Promise<number> {
  const name = getRaterName(subject);
  if (name === null) return 0;
  const raters = sql`${queues.settings}->'raters'`;
  const locked = await transaction
    .select({ id: queues.id })
    .from(queues)
    .where(and(eq(queues.tenant, subject.tenant), sql`jsonb_exists(${raters}, ${name})`))
    .orderBy(asc(queues.id))
    .for('update');
  const ids = locked.map(({ id }) => id);
  if (ids.length === 0) return 0;
  const left = sql`(select jsonb_agg(case when entry = to_jsonb(${name}::text) then to_jsonb('erased'::text) else entry end)
    from jsonb_array_elements(${raters}) as entry)`;
  await transaction
    .update(queues)
    .set({ settings: sql`jsonb_set(${queues.settings}, '{raters}', ${left})` })
    .where(inArray(queues.id, ids));
  return ids.length;
}

function isOfTenant(transaction: Database, { tenant }: Subject) {
  const own = transaction.select({ id: queues.id }).from(queues).where(eq(queues.tenant, tenant));
  return inArray(queue_raters.queue_id, own);
}
