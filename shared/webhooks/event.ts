// What WEBHOOK_URL is told, as rows: written in the transaction of what they tell of, so that neither is there without
// the other. Writing one sends nothing and waits for nobody.

import { inArray, lt, sql } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { type WebhookType, webhook_events } from '../database/schema.ts';
import { newId } from '../id.ts';

/** For this long an event can be looked up, or waits for somebody who delivers. */
const KEPT = sql`interval '3 days'`;

/** The caller notifies: what an event tells of is news to others as well. */
export async function writeEvent(
  transaction: Database,
  type: WebhookType,
  data: { [name: string]: unknown },
): Promise<void> {
  await transaction.insert(webhook_events).values({ id: newId('evt_'), type, data });
  // Here, since nobody else is sure to come by: where no WEBHOOK_URL is set nobody delivers.
  const old = transaction
    .select({ id: webhook_events.id })
    .from(webhook_events)
    .where(lt(webhook_events.created_at, sql`now() - ${KEPT}`))
    .for('update', { skipLocked: true });
  await transaction.delete(webhook_events).where(inArray(webhook_events.id, old));
}
