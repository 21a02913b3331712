// The trainer's day: a cron in Postgres (pg-boss) says when a round may be due, rounds asked for through the API wait
// in their table, and one trainer at a time runs the next. A round whose trainer died is taken up again where it was;
// one that has lost several is marked failed, and its pairs are new again.

import { and, asc, eq, inArray, notInArray, sql } from 'drizzle-orm';
import { PgBoss } from 'pg-boss';
import { CHANGES } from '../shared/database/channels.ts';
import { type Connection, connect, type Database } from '../shared/database/connect.ts';
import { LOCKS, tryAcquireLock } from '../shared/database/lock.ts';
import { round_events, rounds } from '../shared/database/schema.ts';
import { subscribe } from '../shared/database/subscribe.ts';
import { AttuneError } from '../shared/error.ts';
import { isUnreachable } from '../shared/postgres-errors.ts';
import { requestRound, requestRoundIfDue } from '../shared/rounds/schedule.ts';
import { completeRoundSettings } from '../shared/rounds/settings.ts';
import type { Settings } from '../shared/settings.ts';
import { openLocalStore } from '../shared/store/local-store.ts';
import { isStoreUnreachable } from '../shared/store/store.ts';
import { runRound } from './round.ts';
import { Interruption, type Progress, RoundRecord, type RoundRow } from './stages/log.ts';
import type { Workshop } from './stages/select-pairs.ts';

export type Watch = (round: RoundRow, progress: Progress) => void;

const POLL_INTERVAL_MS = 5000;
const QUEUE = 'attune_round_due';

export type Trainer = { close(): Promise<void> };

/** Runs scheduled and requested rounds until closed. */
export async function startTrainer(settings: Settings, databaseUrl: string, watch: Watch): Promise<Trainer> {
  const connection = connect(databaseUrl, { name: 'attune trainer', max: 5 });
  const workshop = await openWorkshop(settings);
  const boss = new PgBoss({
    connectionString: databaseUrl,
    application_name: 'attune schedule',
    max: 2,
    schema: 'pgboss',
  });
  boss.on('error', (error) => {
    if (!isUnreachable(error)) console.error('trainer: the schedule reports:', error.message);
  });
  await boss.start();
  await boss.createQueue(QUEUE);
  await boss.schedule(QUEUE, settings.TRAIN_SCHEDULE, {}, { tz: 'UTC' });
  await boss.work(QUEUE, () => requestRoundIfDue(connection.db, settings));

  let isClosed = false;
  const runQueued = async () => {
    while (!isClosed && (await runNext(connection, workshop, watch)));
  };
  const options = { name: 'trainer', pollIntervalMs: POLL_INTERVAL_MS };
  const subscription = await subscribe(connection, CHANGES, options, runQueued);
  return {
    async close() {
      isClosed = true;
      await subscription.close();
      await boss.stop({ graceful: false, close: true });
      await connection.close();
    },
  };
}

/** One round now, by whichever trainer gets to it first; resolves when it has ended. */
export async function trainOnce(settings: Settings, databaseUrl: string, watch: Watch): Promise<RoundRow> {
  const connection = connect(databaseUrl, { name: 'attune train', max: 5 });
  try {
    const workshop = await openWorkshop(settings);
    const { id } = await requestRound(connection.db, 'command', completeRoundSettings({}, settings));
    while (true) {
      await runNext(connection, workshop, watch);
      const [row] = await connection.db.select().from(rounds).where(eq(rounds.id, id));
      if (row && row.status !== 'queued' && row.status !== 'running') return row;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  } finally {
    await connection.close();
  }
}

const OPEN: RoundRow['status'][] = ['queued', 'running'];

/** What is queued or due now, round after round; returns those that ended. Where another trainer is at work, none. */
export async function trainDue(settings: Settings, databaseUrl: string, watch: Watch): Promise<RoundRow[]> {
  const connection = connect(databaseUrl, { name: 'attune train', max: 5 });
  const { db } = connection;
  try {
    const workshop = await openWorkshop(settings);
    await requestRoundIfDue(db, settings);
    const seen = new Set<string>();
    do {
      for (const { id } of await db.select().from(rounds).where(inArray(rounds.status, OPEN))) seen.add(id);
    } while (await runNext(connection, workshop, watch));
    const isEnded = and(inArray(rounds.id, [...seen]), notInArray(rounds.status, OPEN));
    return await db.select().from(rounds).where(isEnded).orderBy(asc(rounds.id));
  } finally {
    await connection.close();
  }
}

async function openWorkshop(settings: Settings): Promise<Workshop> {
  return { settings, shelf: await openLocalStore(settings) };
}

/** Runs the oldest queued round where no other trainer is at work. Returns whether it ran one. */
export async function runNext({ db, url }: Connection, workshop: Workshop, watch: Watch): Promise<boolean> {
  const release = await tryAcquireLock(url, LOCKS.train);
  if (!release) return false;
  try {
    const round = (await takeUpDeadRound(db)) ?? (await takeNextRound(db));
    if (!round) return false;
    const record = new RoundRecord(db, round.id, (progress) => watch(round, progress));
    try {
      await runRound(workshop, round, record);
    } catch (error) {
      // The round stays where it is and is taken up again, as where Postgres is away.
      if (error instanceof Interruption || isStoreUnreachable(error)) throw error;
      if (!(error instanceof AttuneError)) console.error('internal: round failed:', error);
      await record.finish('failed', 'failed', { reason: (error as Error).message });
    }
    await workshop.shelf.trim().catch((error: unknown) => console.error('trainer: old copies stay:', error));
    return true;
  } finally {
    await release();
  }
}

async function takeNextRound(db: Database): Promise<RoundRow | null> {
  const [next] = await db.select().from(rounds).where(eq(rounds.status, 'queued')).orderBy(asc(rounds.id)).limit(1);
  if (!next) return null;
  const [round] = await db
    .update(rounds)
    .set({ status: 'running', started_at: new Date() })
    .where(eq(rounds.id, next.id))
    .returning();
  return round!;
}

/** How many trainers a round may lose: it may be what kills them. */
const LIVES = 5;

/** We hold the lock, so a round that still says it runs has lost its trainer. */
async function takeUpDeadRound(db: Database): Promise<RoundRow | null> {
  const [dead] = await db.select().from(rounds).where(eq(rounds.status, 'running'));
  if (!dead) return null;
  const isTakenUp = and(eq(round_events.round_id, dead.id), sql`${round_events.data} ? 'taken_up'`);
  const lost = 1 + (await db.$count(round_events, isTakenUp));
  const record = new RoundRecord(db, dead.id, () => {});
  if (lost < LIVES) {
    await record.say(
      'message',
      `taken up again: its trainer was stopped while ${dead.stage}`,
      { taken_up: lost },
      'warn',
    );
    return dead;
  }
  const reason = `${lost} trainers were stopped in it, the last one while ${dead.stage}; its pairs will be used by the next round`;
  await record.finish('failed', 'failed', { reason });
  return null;
}
