// Delivers events as Standard Webhooks has it, at least once. Whoever delivers takes an event by moving its next try a
// minute on, so no transaction stands open while somebody else's server thinks, and one that dies only delays it.

import { and, asc, eq, inArray, isNull, lte, type SQL, sql } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { webhook_events } from '../database/schema.ts';
import type { Target } from './target.ts';

export type WebhookEvent = typeof webhook_events.$inferSelect;

/** Milliseconds for the receiver to answer. */
const PATIENCE = 10_000;
/** Well over that: until then nobody else tries. */
const HELD = sql`interval '1 minute'`;
/** Seconds before each further try: 22 hours in all. */
export const PAUSES = [5, 30, 120, 600, 1800, 3600, 7200, 14_400, 21_600, 28_800];
const LONGEST_ERROR = 500;

const isOpen = and(isNull(webhook_events.delivered_at), isNull(webhook_events.given_up_at));
const isDue = and(isOpen, lte(webhook_events.next_at, sql`now()`));

/** The ids of events that are due. */
export async function findDue(db: Database, most: number): Promise<string[]> {
  const rows = await db
    .select({ id: webhook_events.id })
    .from(webhook_events)
    .where(isDue)
    .orderBy(asc(webhook_events.next_at))
    .limit(most);
  return rows.map(({ id }) => id);
}

/** Takes events that are due, each for one caller, however many ask at once. */
export async function takeDue(db: Database, most: number, filter?: SQL): Promise<WebhookEvent[]> {
  const due = db
    .select({ id: webhook_events.id })
    .from(webhook_events)
    .where(and(isDue, filter))
    .orderBy(asc(webhook_events.next_at))
    .limit(most)
    .for('update', { skipLocked: true });
  return db
    .update(webhook_events)
    .set({ attempts: sql`${webhook_events.attempts} + 1`, next_at: sql`now() + ${HELD}` })
    .where(inArray(webhook_events.id, due))
    .returning();
}

/** Takes this one, or returns null where it is not due or somebody else has it. */
export async function takeEvent(db: Database, id: string): Promise<WebhookEvent | null> {
  return (await takeDue(db, 1, eq(webhook_events.id, id)))[0] ?? null;
}

/** Tries once and writes down what came of it. Returns the seconds to the next try, or null where there is none. */
export async function deliver(
  db: Database,
  target: Target,
  event: WebhookEvent,
  stopped?: AbortSignal,
): Promise<number | null> {
  const error = await send(target, event, stopped);
  // Whoever was so slow that another has taken the event leaves its next try to that one.
  const isOurs = and(eq(webhook_events.id, event.id), isOpen, eq(webhook_events.attempts, event.attempts));
  if (error === null) {
    const wasOpen = and(eq(webhook_events.id, event.id), isNull(webhook_events.delivered_at));
    const arrived = { delivered_at: sql`now()`, given_up_at: null, last_error: null };
    await db.update(webhook_events).set(arrived).where(wasOpen);
    return null;
  }
  const last_error = error.slice(0, LONGEST_ERROR);
  const pause = PAUSES[event.attempts - 1];
  if (pause === undefined) {
    await db.update(webhook_events).set({ last_error, given_up_at: sql`now()` }).where(isOurs);
    console.error(`webhook: ${event.id} (${event.type}) was given up after ${event.attempts} tries: ${error}`);
    return null;
  }
  const next_at = sql`now() + ${pause} * interval '1 second'`;
  await db.update(webhook_events).set({ last_error, next_at }).where(isOurs);
  return pause;
}

/** Why it did not arrive, or null. */
async function send({ url, signer }: Target, event: WebhookEvent, stopped?: AbortSignal): Promise<string | null> {
  const body = JSON.stringify({ type: event.type, timestamp: event.created_at.toISOString(), data: event.data });
  const now = new Date();
  const signals = [AbortSignal.timeout(PATIENCE), ...(stopped ? [stopped] : [])];
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
      // What was signed for one address is not for another.
      redirect: 'manual',
      signal: AbortSignal.any(signals),
    });
    await response.body?.cancel().catch(() => {});
    return response.ok ? null : `the receiver answered ${response.status}`;
  } catch (error) {
    return explain(error as Error);
  }
}

function explain(error: Error): string {
  if (error.name === 'TimeoutError') return `the receiver did not answer within ${PATIENCE / 1000} s`;
  if (error.name === 'AbortError') return 'the deliverer was stopped';
  const { cause } = error;
  if (!(cause instanceof Error)) return error.message;
  return cause.message || String((cause as { code?: unknown }).code ?? error.message);
}
