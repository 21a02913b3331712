// The trainer: a cron in Postgres (pg-boss) queues rounds that are due, requests through the API queue others, and one
// trainer at a time runs them. The lock keeps trainers from working in vain; what keeps two of them from writing one round
// is its owner (claim.ts, stages/log.ts).

import { and, asc, eq, inArray, notInArray } from 'drizzle-orm';
import { PgBoss } from 'pg-boss';
import packageJson from '../package.json' with { type: 'json' };
import { COMMAND, recordAudit } from '../shared/access/audit.ts';
import { decideOnce, startDeciding } from '../shared/canary/decide-loop.ts';
import { CHANGES } from '../shared/database/channels.ts';
import { type Connection, connect, type Database } from '../shared/database/connect.ts';
import { LOCKS, tryAcquireLock } from '../shared/database/lock.ts';
import { hasEnded, UNFINISHED_STATUSES } from '../shared/database/round-types.ts';
import { policies, rounds } from '../shared/database/schema.ts';
import { subscribe } from '../shared/database/subscribe.ts';
import { applyRetention } from '../shared/erasure/retention.ts';
import { AttuneError } from '../shared/error.ts';
import { summarizeError } from '../shared/error-description.ts';
import { log } from '../shared/log.ts';
import { isUnreachable } from '../shared/postgres-errors.ts';
import { type RoundOptions, type RoundRow, requestRound, requestRoundIfDue } from '../shared/rounds/schedule.ts';
import { completeRoundSettings, listMethodSettings, type RoundRequest } from '../shared/rounds/settings.ts';
import type { Settings } from '../shared/settings.ts';
import { openLocalStore } from '../shared/store/local-store.ts';
import { isStoreUnreachable } from '../shared/store/store.ts';
import { openTracing } from '../shared/tracing.ts';
import { isCancelled, watchCancellation } from './cancellation.ts';
import { claim, findNextRound, logResumption } from './claim.ts';
import { startHeartbeat } from './heartbeat.ts';
import { runRewardRound } from './reward-round.ts';
import { runRound } from './round.ts';
import { RoundTrace } from './round-trace.ts';
import { removeRounds } from './stages/checkpoint.ts';
import { runDryRun } from './stages/dry-run.ts';
import { InterruptedError, type Progress, RoundLog } from './stages/log.ts';
import { offerCandidate, releaseCandidate } from './stages/publish-candidate.ts';
import { finishReward } from './stages/publish-reward.ts';
import { createRoundContext, type OwnedRound, roundsFolder, type TrainerContext } from './stages/round-context.ts';

export type ProgressListener = (round: RoundRow, progress: Progress) => void;

const POLL_INTERVAL_MS = 5000;
const DUE_QUEUE = 'attune_round_due';
/** Delay before a round whose policy store is unreachable is resumed. */
const STORE_RETRY_MS = 30_000;

/** Closing leaves the round in progress to the next trainer, and waits for its step to end. */
export type Trainer = { close(): Promise<void> };

/** Runs queued rounds until closed. */
export async function startTrainer(
  settings: Settings,
  databaseUrl: string,
  onProgress: ProgressListener,
): Promise<Trainer> {
  const connection = connect(databaseUrl, { name: 'attune trainer', max: 5 });
  const trainer = await openTrainer(settings, connection.db);
  const boss = new PgBoss({
    connectionString: databaseUrl,
    application_name: 'attune schedule',
    max: 2,
    schema: 'pgboss',
  });
  boss.on('error', (error) => {
    if (!isUnreachable(error)) logFailure('internal: the schedule failed', error);
  });
  await boss.start();
  await boss.createQueue(DUE_QUEUE);
  await boss.schedule(DUE_QUEUE, settings.TRAIN_SCHEDULE, {}, { tz: 'UTC' });
  await boss.work(DUE_QUEUE, () => runSchedule(connection.db, settings));

  const heartbeat = startHeartbeat(connection.db);
  const stop = new AbortController();
  let retryAt = 0;
  const runQueuedRounds = async () => {
    if (performance.now() < retryAt) return;
    try {
      while (!stop.signal.aborted && (await runNextRound(connection, trainer, onProgress, stop.signal)));
    } catch (error) {
      if (isStoreUnreachable(error)) retryAt = performance.now() + STORE_RETRY_MS;
      throw error;
    }
  };
  const options = { name: 'trainer', pollIntervalMs: POLL_INTERVAL_MS };
  const subscription = await subscribe(connection, CHANGES, options, runQueuedRounds);
  // Also while a round trains, and where no edge is up.
  const decisions = await startDeciding(connection, settings);
  return {
    async close() {
      heartbeat.stop();
      stop.abort(new Error('the trainer was stopped'));
      await decisions.close();
      await subscription.close();
      await boss.stop({ graceful: false, close: true });
      await connection.close();
      await trainer.tracing?.close();
    },
  };
}

/** Queues a round and resolves when it has ended, run by this trainer or by another one. */
export async function trainOnce(
  settings: Settings,
  databaseUrl: string,
  onProgress: ProgressListener,
  { stop, ...options }: { stop?: AbortSignal } & RoundOptions = {},
): Promise<RoundRow> {
  const connection = connect(databaseUrl, { name: 'attune train', max: 5 });
  const trainer = await openTrainer(settings, connection.db);
  const heartbeat = startHeartbeat(connection.db);
  try {
    const config = listMethodSettings(options.method ?? 'dil', completeRoundSettings({}, settings));
    const id = await requestByCommand(connection.db, config, options);
    while (true) {
      stop?.throwIfAborted();
      await runNextRound(connection, trainer, onProgress, stop);
      const [row] = await connection.db.select().from(rounds).where(eq(rounds.id, id));
      if (row && hasEnded(row.status)) return row;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  } finally {
    heartbeat.stop();
    await connection.close();
    await trainer.tracing?.close();
  }
}

function requestByCommand(db: Database, settings: RoundRequest, options: RoundOptions): Promise<string> {
  return db.transaction(async (transaction) => {
    const { id, method } = await requestRound(transaction, 'command', settings, options);
    const details = { method, settings };
    await recordAudit(transaction, { actor: COMMAND, action: 'round.requested', target: id, details });
    return id;
  });
}

/** Runs every round that is queued or due now, and returns those that ended: none if another trainer is running. */
export async function trainDue(
  settings: Settings,
  databaseUrl: string,
  onProgress: ProgressListener,
  stop?: AbortSignal,
): Promise<RoundRow[]> {
  const connection = connect(databaseUrl, { name: 'attune train', max: 5 });
  const { db } = connection;
  const trainer = await openTrainer(settings, connection.db);
  const heartbeat = startHeartbeat(connection.db);
  try {
    await decideOnce(db, settings);
    await runSchedule(db, settings);
    const seen = new Set<string>();
    do {
      for (const { id } of await db.select().from(rounds).where(inArray(rounds.status, UNFINISHED_STATUSES)))
        seen.add(id);
    } while (await runNextRound(connection, trainer, onProgress, stop));
    const hasEndedHere = and(inArray(rounds.id, [...seen]), notInArray(rounds.status, UNFINISHED_STATUSES));
    return await db.select().from(rounds).where(hasEndedHere).orderBy(asc(rounds.id));
  } finally {
    heartbeat.stop();
    await connection.close();
    await trainer.tracing?.close();
  }
}

/** One tick of the schedule: rows whose retention is over, and a round if one is due. */
async function runSchedule(db: Database, settings: Settings): Promise<void> {
  // Failing does not stop the training; the next tick goes on where this one ended.
  await applyRetention(db, settings).catch((error: unknown) => logFailure('RETENTION_DAYS was not applied', error));
  await requestRoundIfDue(db, settings);
}

function logFailure(message: string, error: unknown): void {
  log.error('trainer', message, error);
}

async function openTrainer(settings: Settings, db: Database): Promise<TrainerContext> {
  const tracing = await openTracing(settings, { name: 'attune-trainer', version: packageJson.version });
  return { settings, store: await openLocalStore(settings, db), tracing };
}

/**
 * Resumes the round whose trainer died or was stopped, or else runs the oldest queued one. Returns whether there was one;
 * false if another trainer is running. Once `stop` is aborted, or the lock is lost, the round is left for the next trainer.
 */
export async function runNextRound(
  { db, url }: Connection,
  trainer: TrainerContext,
  onProgress: ProgressListener,
  stop: AbortSignal = new AbortController().signal,
): Promise<boolean> {
  const lock = await tryAcquireLock(url, LOCKS.train);
  if (!lock) return false;
  try {
    const found = await findNextRound(db);
    await tidy(trainer, found?.id);
    const round = found && (await claim(db, found));
    if (!round) return false;
    const cancellation = watchCancellation(db, round.id);
    const stopped = AbortSignal.any([stop, lock.lost, cancellation.signal]);
    const trace = new RoundTrace(trainer.tracing ?? null, round);
    const log = new RoundLog(db, round, stopped, (progress) => {
      trace.observe(progress);
      onProgress(round, progress);
    });
    // At once, because a step can take longer than the process has before it is killed.
    const onStopped = () => void release(log, stopped.reason);
    stopped.addEventListener('abort', onStopped);
    try {
      if (found.status === 'running') await logResumption(log, found);
      await runOrResume(trainer, round, log);
    } catch (error) {
      if (!(await isCancelled(db, round.id).catch(() => false))) {
        if (stopped.aborted || isTransient(error)) {
          await release(log, error);
          throw error;
        }
        if (!(error instanceof AttuneError)) logFailure(`internal: ${round.id} failed`, error);
        await log.finish('failed', summarizeError(error));
      }
    } finally {
      cancellation.close();
      stopped.removeEventListener('abort', onStopped);
      await trace.end(db, round.id);
    }
    await tidy(trainer);
    await trainer.store
      .trim()
      .catch((error: unknown) => logFailure('local copies of policies were not removed', error));
    return true;
  } finally {
    await lock.release();
  }
}

/** Removes the files of rounds that have ended; those of `current` may be resumed. */
async function tidy({ settings }: TrainerContext, current?: string): Promise<void> {
  await removeRounds(roundsFolder(settings), current).catch((error: unknown) =>
    logFailure('files of earlier rounds were not removed', error),
  );
}

/** Not a failure of the round: it keeps the status `running`, and the next trainer resumes it. */
function isTransient(error: unknown): boolean {
  return error instanceof InterruptedError || isStoreUnreachable(error) || isUnreachable(error);
}

async function release(log: RoundLog, reason: unknown): Promise<void> {
  // If Postgres is unreachable this counts as an attempt.
  await log.release(summarizeError(reason)).catch(() => {});
}

async function runOrResume(trainer: TrainerContext, round: OwnedRound, log: RoundLog): Promise<void> {
  if (round.dry_run) return runDryRun(trainer, round, log);
  const [published] = await log.db.select().from(policies).where(eq(policies.round_id, round.id));
  const isReward = round.method === 'reward';
  const reason = round.reason ?? 'published';
  if (published && isReward) return finishReward(log, published, reason);
  if (published && round.gate?.pass === false) return offerCandidate(log, published, round.baseline_id!, reason);
  if (published) return releaseCandidate(log, trainer.settings, published, round.baseline_id!, reason);
  const context = await createRoundContext(trainer, round, log);
  await (isReward ? runRewardRound : runRound)(context);
}
