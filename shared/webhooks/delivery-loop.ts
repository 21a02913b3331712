// Delivers webhooks in a Node process, woken by NOTIFY and by a poll for retries that are due. Any number of processes
// may run this loop; requests and rounds never wait for it.

import { CHANGES } from '../database/channels.ts';
import type { Connection, Database } from '../database/connect.ts';
import { subscribe } from '../database/subscribe.ts';
import type { Settings } from '../settings.ts';
import { claimDueEvents, deliverEvent, readWebhookTarget, type WebhookTarget } from './delivery.ts';

const POLL_INTERVAL_MS = 2000;
const MAX_CONCURRENT_DELIVERIES = 10;

export type WebhookDelivery = { close(): Promise<void> };

/** Delivers until closed; does nothing without WEBHOOK_URL. */
export async function startWebhookDelivery(
  connection: Connection,
  settings: Settings,
  pollIntervalMs = POLL_INTERVAL_MS,
): Promise<WebhookDelivery> {
  const target = readWebhookTarget(settings);
  if (!target) return { close: async () => {} };
  const abort = new AbortController();
  const options = { name: 'webhooks', pollIntervalMs };
  const subscription = await subscribe(connection, CHANGES, options, () =>
    deliverDueEvents(connection.db, target, abort.signal),
  );
  return {
    async close() {
      abort.abort();
      await subscription.close();
    },
  };
}

async function deliverDueEvents(db: Database, target: WebhookTarget, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const events = await claimDueEvents(db, MAX_CONCURRENT_DELIVERIES);
    if (events.length === 0) return;
    await Promise.all(events.map((event) => deliverEvent(db, target, event, signal)));
  }
}
