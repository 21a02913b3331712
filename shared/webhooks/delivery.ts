// Delivers webhook events at least once, as Standard Webhooks specifies: signed, timestamped, retried with the same id. A
// claim leases the row by moving its next attempt one minute ahead, so no transaction stays open during the request and
// a deliverer that dies only delays the event.

import { and, asc, eq, inArray, isNull, lte, type SQL, sql } from 'drizzle-orm';
import { Webhook } from 'standardwebhooks';
import type { Database } from '../database/connect.ts';
import { webhook_events } from '../database/schema.ts';
import { log } from '../log.ts';
import type { Settings } from '../settings.ts';

export type WebhookEvent = typeof webhook_events.$inferSelect;
export type WebhookTarget = { url: string; signer: Webhook };

const RESPONSE_TIMEOUT_MS = 10_000;
/** Much longer than the timeout: no other deliverer can claim the row until then. */
const LEASE = sql`interval '1 minute'`;
/** Seconds before each retry: 22 hours in all. */
export const RETRY_DELAYS_S = [5, 30, 120, 600, 1800, 3600, 7200, 14_400, 21_600, 28_800];
const MAX_ERROR_LENGTH = 500;

/** Null without WEBHOOK_URL. */
export function readWebhookTarget(settings: Pick<Settings, 'WEBHOOK_URL' | 'WEBHOOK_SECRET'>): WebhookTarget | null {
  const { WEBHOOK_URL: url, WEBHOOK_SECRET: secret } = settings;
  // readSettings rejects a URL without a secret: nothing is sent unsigned.
  if (url === undefined || secret === undefined) return null;
  return { url, signer: new Webhook(secret) };
}

const isOpen = and(isNull(webhook_events.delivered_at), isNull(webhook_events.given_up_at));
const isDue = and(isOpen, lte(webhook_events.next_at, sql`now()`));

/** The ids of due events, the longest overdue first. */
export async function listDueEvents(db: Database, limit: number): Promise<string[]> {
  const rows = await db
    .select({ id: webhook_events.id })
    .from(webhook_events)
    .where(isDue)
    .orderBy(asc(webhook_events.next_at))
    .limit(limit);
  return rows.map(({ id }) => id);
}

/** Claims due events; concurrent callers get disjoint sets. */
export async function claimDueEvents(db: Database, limit: number, filter?: SQL): Promise<WebhookEvent[]> {
  const due = db
    .select({ id: webhook_events.id })
    .from(webhook_events)
    .where(and(isDue, filter))
    .orderBy(asc(webhook_events.next_at))
    .limit(limit)
    .for('update', { skipLocked: true });
  return db
    .update(webhook_events)
    .set({ attempts: sql`${webhook_events.attempts} + 1`, next_at: sql`now() + ${LEASE}` })
    .where(inArray(webhook_events.id, due))
    .returning();
}

/** Claims one event; null if it is not due or is claimed already. */
export async function claimEvent(db: Database, id: string): Promise<WebhookEvent | null> {
  return (await claimDueEvents(db, 1, eq(webhook_events.id, id)))[0] ?? null;
}

/** Makes one attempt and stores its outcome. Returns the seconds until the next attempt, or null if there is none. */
export async function deliverEvent(
  db: Database,
  target: WebhookTarget,
  event: WebhookEvent,
  signal?: AbortSignal,
): Promise<number | null> {
  const error = await send(target, event, signal);
  if (error === null) {
    const isUndelivered = and(eq(webhook_events.id, event.id), isNull(webhook_events.delivered_at));
    const delivered = { delivered_at: sql`now()`, given_up_at: null, last_error: null };
    await db.update(webhook_events).set(delivered).where(isUndelivered);
    return null;
  }
  // After its lease expired another deliverer may have claimed the event, and then schedules its next attempt.
  const isOurs = and(eq(webhook_events.id, event.id), isOpen, eq(webhook_events.attempts, event.attempts));
  const last_error = error.slice(0, MAX_ERROR_LENGTH);
  const delay = RETRY_DELAYS_S[event.attempts - 1];
  if (delay === undefined) {
    await db.update(webhook_events).set({ last_error, given_up_at: sql`now()` }).where(isOurs);
    log.error('webhooks', `${event.id} (${event.type}): giving up after ${event.attempts} attempts: ${error}`);
    return null;
  }
  const next_at = sql`now() + ${delay} * interval '1 second'`;
  await db.update(webhook_events).set({ last_error, next_at }).where(isOurs);
  return delay;
}

/** Returns the error, or null on success. */
async function send({ url, signer }: WebhookTarget, event: WebhookEvent, signal?: AbortSignal): Promise<string | null> {
  const body = JSON.stringify({ type: event.type, timestamp: event.created_at.toISOString(), data: event.data });
  const now = new Date();
  const signals = [AbortSignal.timeout(RESPONSE_TIMEOUT_MS), ...(signal ? [signal] : [])];
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'user-agent': 'attune',
        'webhook-id': event.id,
        'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
        'webhook-signature': signer.sign(event.id, now, body),
      },
      body,
      // A redirect could leak a signed event to another address.
      redirect: 'manual',
      signal: AbortSignal.any(signals),
    });
    await response.body?.cancel().catch(() => {});
    return response.ok ? null : `the receiver responded with ${response.status}`;
  } catch (error) {
    return describeFailure(error as Error);
  }
}

function describeFailure(error: Error): string {
  if (error.name === 'TimeoutError') return `no response within ${RESPONSE_TIMEOUT_MS / 1000} s`;
  if (error.name === 'AbortError') return 'delivery was interrupted by a shutdown';
  const { cause } = error;
  if (!(cause instanceof Error)) return error.message;
  return cause.message || String((cause as { code?: unknown }).code ?? error.message);
}
