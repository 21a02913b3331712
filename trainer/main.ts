// The trainer: a cron in Postgres (pg-boss) queues rounds that are due, requests through the API queue others, and one
// trainer at a time runs them. A round whose trainer died is resumed from its last checkpoint; after MAX_ATTEMPTS it is
// marked failed, and the next round uses its pairs.

import { rm } from 'node:fs/promises';
import { and, asc, eq, inArray, notInArray } from 'drizzle-orm';
import { PgBoss } from 'pg-boss';
import { CHANGES } from '../shared/database/channels.ts';
import { type Connection, connect, type Database } from '../shared/database/connect.ts';
import { LOCKS, tryAcquireLock } from '../shared/database/lock.ts';
import { hasEnded, UNFINISHED_STATUSES } from '../shared/database/round-types.ts';
import { policies, rounds } from '../shared/database/schema.ts';
import { subscribe } from '../shared/database/subscribe.ts';
import { AttuneError } from '../shared/error.ts';
import { isUnreachable } from '../shared/postgres-errors.ts';
import { type RoundRow, requestRound, requestRoundIfDue } from '../shared/rounds/schedule.ts';
import { completeRoundSettings } from '../shared/rounds/settings.ts';
import type { Settings } from '../shared/settings.ts';
import { openLocalStore } from '../shared/store/local-store.ts';
import { isStoreUnreachable } from '../shared/store/store.ts';
import { runRound } from './round.ts';
import { InterruptedError, type Progress, RoundLog } from './stages/log.ts';
import { activateCandidate } from './stages/publish-candidate.ts';
import { createRoundContext, type TrainerContext } from './stages/round-context.ts';

export type ProgressListener = (round: RoundRow, progress: Progress) => void;

const POLL_INTERVAL_MS = 5000;
const DUE_QUEUE = 'attune_round_due';
/** A round that crashes every trainer is not retried forever. */
const MAX_ATTEMPTS = 5;

export type Trainer = { close(): Promise<void> };

/** Runs queued rounds until closed. */
export async function startTrainer(
  settings: Settings,
  databaseUrl: string,
  onProgress: ProgressListener,
): Promise<Trainer> {
  const connection = connect(databaseUrl, { name: 'attune trainer', max: 5 });
  const trainer = await openTrainer(settings);
  const boss = new PgBoss({
    connectionString: databaseUrl,
    application_name: 'attune schedule',
    max: 2,
    schema: 'pgboss',
  });
  boss.on('error', (error) => {
    if (!isUnreachable(error)) console.error('trainer: schedule:', error.message);
  });
  await boss.start();
  await boss.createQueue(DUE_QUEUE);
  await boss.schedule(DUE_QUEUE, settings.TRAIN_SCHEDULE, {}, { tz: 'UTC' });
  await boss.work(DUE_QUEUE, () => requestRoundIfDue(connection.db, settings));

  let isClosed = false;
  const runQueuedRounds = async () => {
    while (!isClosed && (await runNextRound(connection, trainer, onProgress)));
  };
  const options = { name: 'trainer', pollIntervalMs: POLL_INTERVAL_MS };
  const subscription = await subscribe(connection, CHANGES, options, runQueuedRounds);
  return {
    async close() {
      isClosed = true;
      await subscription.close();
      await boss.stop({ graceful: false, close: true });
      await connection.close();
    },
  };
}

/** Queues a round and resolves when it has ended, run by this trainer or by another one. */
export async function trainOnce(
  settings: Settings,
  databaseUrl: string,
  onProgress: ProgressListener,
): Promise<RoundRow> {
  const connection = connect(databaseUrl, { name: 'attune train', max: 5 });
  try {
    const trainer = await openTrainer(settings);
    const { id } = await requestRound(connection.db, 'command', completeRoundSettings({}, settings));
    while (true) {
      await runNextRound(connection, trainer, onProgress);
      const [row] = await connection.db.select().from(rounds).where(eq(rounds.id, id));
      if (row && hasEnded(row.status)) return row;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  } finally {
    await connection.close();
  }
}

/** Runs every round that is queued or due now, and returns those that ended: none if another trainer is running. */
export async function trainDue(
  settings: Settings,
  databaseUrl: string,
  onProgress: ProgressListener,
): Promise<RoundRow[]> {
  const connection = connect(databaseUrl, { name: 'attune train', max: 5 });
  const { db } = connection;
  try {
    const trainer = await openTrainer(settings);
    await requestRoundIfDue(db, settings);
    const seen = new Set<string>();
    do {
      for (const { id } of await db.select().from(rounds).where(inArray(rounds.status, UNFINISHED_STATUSES)))
        seen.add(id);
    } while (await runNextRound(connection, trainer, onProgress));
    const hasEndedHere = and(inArray(rounds.id, [...seen]), notInArray(rounds.status, UNFINISHED_STATUSES));
    return await db.select().from(rounds).where(hasEndedHere).orderBy(asc(rounds.id));
  } finally {
    await connection.close();
  }
}

async function openTrainer(settings: Settings): Promise<TrainerContext> {
  return { settings, store: await openLocalStore(settings) };
}

/**
 * Resumes the round whose trainer died, or else runs the oldest queued one. Returns whether there was one; false if
 * another trainer is running.
 */
export async function runNextRound(
  { db, url }: Connection,
  trainer: TrainerContext,
  onProgress: ProgressListener,
): Promise<boolean> {
  const release = await tryAcquireLock(url, LOCKS.train);
  if (!release) return false;
  try {
    const round = (await claimInterruptedRound(db)) ?? (await claimQueuedRound(db));
    if (!round) return false;
    const log = new RoundLog(db, round.id, (progress) => onProgress(round, progress));
    try {
      await runOrResume(trainer, round, log);
    } catch (error) {
      // Not a failure of the round: it keeps the status `running` and is resumed, as after a lost database connection.
      if (error instanceof InterruptedError || isStoreUnreachable(error)) throw error;
      if (!(error instanceof AttuneError)) console.error('internal: round failed:', error);
      await log.finish('failed', (error as Error).message);
    }
    await trainer.store
      .trim()
      .catch((error: unknown) => console.error('trainer: local copies of policies were not removed:', error));
    return true;
  } finally {
    await release();
  }
}

async function runOrResume(trainer: TrainerContext, round: RoundRow, log: RoundLog): Promise<void> {
  const [published] = await log.db.select().from(policies).where(eq(policies.round_id, round.id));
  if (published) return activateCandidate(log, published.id, published.parent_id, round.reason ?? 'published');
  const context = await createRoundContext(trainer, round, log);
  await runRound(context);
  await rm(context.checkpointFolder, { recursive: true, force: true });
}

async function claimQueuedRound(db: Database): Promise<RoundRow | null> {
  const [next] = await db.select().from(rounds).where(eq(rounds.status, 'queued')).orderBy(asc(rounds.id)).limit(1);
  return next ? claim(db, next) : null;
}

/** This trainer holds the lock, so the trainer of a round that is still `running` has died. */
async function claimInterruptedRound(db: Database): Promise<RoundRow | null> {
  const [interrupted] = await db.select().from(rounds).where(eq(rounds.status, 'running'));
  if (!interrupted) return null;
  const { id, stage, attempts } = interrupted;
  const log = new RoundLog(db, id, () => {});
  if (attempts >= MAX_ATTEMPTS) {
    const reason = `${attempts} trainers were stopped while running it, the last one while ${stage}; the next round will use its pairs`;
    await log.finish('failed', reason);
    return null;
  }
  await log.addEvent('message', `resumed: its trainer was stopped while ${stage}`, { attempts }, 'warn');
  return claim(db, interrupted);
}

async function claim(db: Database, { id, attempts, started_at }: RoundRow): Promise<RoundRow> {
  const [round] = await db
    .update(rounds)
    .set({ status: 'running', attempts: attempts + 1, started_at: started_at ?? new Date() })
    .where(eq(rounds.id, id))
    .returning();
  return round!;
}
