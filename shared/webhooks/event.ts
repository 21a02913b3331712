// The outbox of webhooks: an event is inserted in the transaction of the change that it reports, so that neither exists
// without the other. Delivery runs in the background (delivery-loop.ts, or a Worker's queue).

import { inArray, lt, sql } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { type WebhookType, webhook_events } from '../database/schema.ts';
import { newId } from '../id.ts';

/** An event stays this long, delivered or not. */
const RETENTION = sql`interval '3 days'`;

/** Inserts an event. The caller notifies CHANGES, since other subscribers follow the same change. */
export async function writeEvent(
  transaction: Database,
  type: WebhookType,
  data: { [name: string]: unknown },
): Promise<void> {
  await transaction.insert(webhook_events).values({ id: newId('evt_'), type, data });
  // Expired events are removed here, because without WEBHOOK_URL no deliverer ever runs.
  const expired = transaction
    .select({ id: webhook_events.id })
    .from(webhook_events)
    .where(lt(webhook_events.created_at, sql`now() - ${RETENTION}`))
    .for('update', { skipLocked: true });
  await transaction.delete(webhook_events).where(inArray(webhook_events.id, expired));
}
