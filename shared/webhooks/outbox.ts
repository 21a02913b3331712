// What operators do with the outbox of webhooks: look at its events, and have one sent again.

import { and, desc, eq, inArray, isNotNull, isNull, lt, ne, or, type SQL, sql } from 'drizzle-orm';
import { recordAudit } from '../access/audit.ts';
import { notifyChange } from '../database/channels.ts';
import type { Database } from '../database/connect.ts';
import { queues, webhook_events } from '../database/schema.ts';
import { AttuneError } from '../error.ts';
import type { WebhookEvent } from './delivery.ts';

export const EVENT_STATES = ['pending', 'delivered', 'given_up'] as const;
export type EventState = (typeof EVENT_STATES)[number];

const CONDITIONS: Record<EventState, SQL | undefined> = {
  pending: and(isNull(webhook_events.delivered_at), isNull(webhook_events.given_up_at)),
  delivered: isNotNull(webhook_events.delivered_at),
  given_up: isNotNull(webhook_events.given_up_at),
};

export function getEventState({ delivered_at, given_up_at }: WebhookEvent): EventState {
  if (delivered_at) return 'delivered';
  return given_up_at ? 'given_up' : 'pending';
}

/** What a tenant may read; null: all. Policies, rounds and canaries are everybody's, and raters are those of a queue's tenant. */
function isReadable(db: Pick<Database, 'select'>, tenant: string | null): SQL | undefined {
  if (tenant === null) return undefined;
  const own = db.select({ id: queues.id }).from(queues).where(eq(queues.tenant, tenant));
  return or(ne(webhook_events.type, 'rater.paused'), inArray(sql`${webhook_events.data} ->> 'queue'`, own));
}

type Listed = {
  state?: EventState | undefined;
  limit: number;
  after?: string | undefined;
  /** whose reader it is; null: one who may read all */
  tenant?: string | null;
};

/** Newest first. `after`: the id of the last one that the caller has. */
export function listEvents(db: Database, { state, limit, after, tenant = null }: Listed): Promise<WebhookEvent[]> {
  const isAfter = after === undefined ? undefined : lt(webhook_events.id, after);
  return db
    .select()
    .from(webhook_events)
    .where(and(state && CONDITIONS[state], isAfter, isReadable(db, tenant)))
    .orderBy(desc(webhook_events.id))
    .limit(limit);
}

/** Throws a 404, also for an event that this tenant may not read. */
export async function findEvent(
  db: Pick<Database, 'select'>,
  id: string,
  tenant: string | null = null,
  param = 'id',
): Promise<WebhookEvent> {
  const [row] = await db
    .select()
    .from(webhook_events)
    .where(and(eq(webhook_events.id, id), isReadable(db, tenant)));
  if (row) return row;
  throw new AttuneError(`there is no webhook event ${id}; events are kept for three days`, {
    status: 404,
    param,
    code: 'not_found',
  });
}

/** Makes the event due now, whatever became of it, with its id and all its attempts. */
export async function resendEvent(
  transaction: Database,
  id: string,
  actor: string,
  tenant: string | null = null,
): Promise<WebhookEvent> {
  const { type } = await findEvent(transaction, id, tenant);
  const anew = { attempts: 0, next_at: sql`now()`, delivered_at: null, given_up_at: null, last_error: null };
  const [row] = await transaction.update(webhook_events).set(anew).where(eq(webhook_events.id, id)).returning();
  await recordAudit(transaction, { actor, action: 'webhook.resent', target: id, details: { type } });
  await notifyChange(transaction, id);
  return row!;
}
