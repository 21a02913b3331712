// What operators are told of although nobody changed anything: a gate that refuses round after round, preferences that have
// stopped, a trainer that is missed. Each is one event for as long as it lasts: a row in `alerts`, which goes when it is over.

import { and, asc, desc, eq, inArray, isNotNull, sql } from 'drizzle-orm';
import { notifyChange } from '../database/channels.ts';
import type { Database } from '../database/connect.ts';
import { UNFINISHED_STATUSES } from '../database/round-types.ts';
import { activations, alerts, heartbeats, preferences, rounds, type WebhookType } from '../database/schema.ts';
import type { Settings } from '../settings.ts';
import { writeEvent } from './event.ts';

type AlertName = typeof alerts.$inferSelect.name;
export type AlertSettings = Pick<Settings, 'ALERT_NO_PAIRS_DAYS' | 'ALERT_TRAINER_MINUTES'>;

type Alert = { name: AlertName; type: WebhookType; since: Date; data: Record<string, unknown> };

/** Of one gate after the other. */
const REFUSALS = 3;
/**
 * Told only if it is found again after the first of these, and looked for in between, at most the second apart: where all was
 * off or asleep, a trainer is there a minute later.
 */
const CONFIRMED: AlertName[] = ['trainer_missing'];
const CONFIRM_SECONDS = { after: 120, before: 600 };
const NAMES: AlertName[] = ['gate_refusals', 'no_new_pairs', 'trainer_missing'];

/** Writes an event for each that has begun, and forgets those that are over. Any number of processes may call it at once. */
export async function checkAlerts(db: Database, settings: AlertSettings): Promise<void> {
  if (isSettled(await findAlerts(db, settings), await listKnown(db))) return;
  await db.transaction(async (transaction) => {
    // One after the other: each finds what the one before has raised.
    await transaction.execute(sql`lock table ${alerts} in share row exclusive mode`);
    const found = await findAlerts(transaction, settings);
    const known = await listKnown(transaction);
    const over = NAMES.filter((name) => known.has(name) && !found.some((alert) => alert.name === name));
    if (over.length > 0) await transaction.delete(alerts).where(inArray(alerts.name, over));
    for (const alert of found) {
      const row = known.get(alert.name);
      if (row?.isRaised) continue;
      if (!CONFIRMED.includes(alert.name)) await raise(transaction, alert);
      else if (!row || row.age > CONFIRM_SECONDS.before) await note(transaction, alert.name);
      else if (row.age >= CONFIRM_SECONDS.after) await raise(transaction, alert);
    }
  });
}

async function raise(transaction: Database, { name, type, since, data }: Alert): Promise<void> {
  const raised = { since, raised_at: sql`now()` };
  await transaction
    .insert(alerts)
    .values({ name, ...raised })
    .onConflictDoUpdate({ target: alerts.name, set: raised });
  await writeEvent(transaction, type, data);
  await notifyChange(transaction, name);
}

/** That it was found, now, and not told yet. */
async function note(transaction: Database, name: AlertName): Promise<void> {
  const noted = { since: sql`now()`, raised_at: null };
  await transaction
    .insert(alerts)
    .values({ name, ...noted })
    .onConflictDoUpdate({ target: alerts.name, set: noted });
}

type Known = { isRaised: boolean /** seconds since it began, or was noted */; age: number };

function isSettled(found: Alert[], known: ReadonlyMap<AlertName, Known>): boolean {
  return found.length === known.size && found.every(({ name }) => known.get(name)?.isRaised);
}

async function listKnown(db: Database): Promise<Map<AlertName, Known>> {
  const age = sql<number>`extract(epoch from now() - ${alerts.since})::float8`;
  const rows = await db.select({ name: alerts.name, raisedAt: alerts.raised_at, age }).from(alerts);
  return new Map(rows.map(({ name, raisedAt, age }) => [name, { isRaised: raisedAt !== null, age }]));
}

async function findAlerts(db: Database, settings: AlertSettings): Promise<Alert[]> {
  const found = [
    await findRefusals(db),
    await findNoNewPairs(db, settings.ALERT_NO_PAIRS_DAYS),
    await findMissingTrainer(db, settings.ALERT_TRAINER_MINUTES),
  ];
  return found.filter((alert) => alert !== null);
}

/** Of the last rounds that a gate has judged; a round that failed or was cancelled says nothing about it. */
async function findRefusals(db: Database): Promise<Alert | null> {
  const wasJudged = and(isNotNull(rounds.gate), eq(rounds.status, 'succeeded'));
  const last = await db.select().from(rounds).where(wasJudged).orderBy(desc(rounds.id)).limit(REFUSALS);
  if (last.length < REFUSALS || last.some(({ stage }) => stage !== 'refused')) return null;
  const { reason, finished_at: finishedAt, created_at: createdAt } = last[0]!;
  const data = { rounds: last.map(({ id }) => id).reverse(), reason };
  return { name: 'gate_refusals', type: 'gate.refused_repeatedly', since: finishedAt ?? createdAt, data };
}

/** Since the last preference for one of two responses; before the first one, since the first policy was active. */
async function findNoNewPairs(db: Database, days: number): Promise<Alert | null> {
  const [last] = await db
    .select({ at: preferences.created_at })
    .from(preferences)
    .where(inArray(preferences.choice, ['a', 'b']))
    .orderBy(desc(preferences.id))
    .limit(1);
  const [first] = await db
    .select({ at: activations.created_at })
    .from(activations)
    .orderBy(asc(activations.id))
    .limit(1);
  const since = last?.at ?? first?.at;
  if (!since || (await countSecondsSince(db, since)) < days * 86_400) return null;
  const data = { days, last_pair_at: last ? last.at.toISOString() : null };
  return { name: 'no_new_pairs', type: 'pairs.none_new', since, data };
}

/** While a round waits, and has waited for that long: a trainer that runs now and then is not missed before. */
async function findMissingTrainer(db: Database, minutes: number): Promise<Alert | null> {
  const [waiting] = await db
    .select()
    .from(rounds)
    .where(inArray(rounds.status, UNFINISHED_STATUSES))
    .orderBy(asc(rounds.id))
    .limit(1);
  if (!waiting) return null;
  const [trainer] = await db.select().from(heartbeats).where(eq(heartbeats.name, 'trainer'));
  const seenAt = trainer?.seen_at ?? null;
  const since = seenAt && seenAt > waiting.created_at ? seenAt : waiting.created_at;
  if ((await countSecondsSince(db, since)) < minutes * 60) return null;
  const data = { minutes, seen_at: seenAt?.toISOString() ?? null, round: waiting.id };
  return { name: 'trainer_missing', type: 'trainer.missing', since, data };
}

/** By Postgres's clock, which made the times. */
async function countSecondsSince(db: Database, date: Date): Promise<number> {
  const since = sql`${date.toISOString()}::timestamptz`;
  const [row] = await db.execute<{ seconds: number }>(
    sql`select extract(epoch from now() - ${since})::float8 as seconds`,
  );
  return row!.seconds;
}
