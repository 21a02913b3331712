// The trainer's day: a cron in Postgres (pg-boss) says when a round may be due, rounds asked for through the API wait
// in their table, and one trainer at a time runs the next. A round whose trainer died is marked failed; its pairs are
// new again.

import path from 'node:path';
import { asc, eq, inArray, sql } from 'drizzle-orm';
import { PgBoss } from 'pg-boss';
import { type Connection, connect, isUnreachable } from '../shared/database/connect.ts';
import { LOCKS, tryLock } from '../shared/database/lock.ts';
import { round_events, rounds } from '../shared/database/schema.ts';
import { AttuneError } from '../shared/error.ts';
import { NEWS } from '../shared/policy/registry.ts';
import { openFolderStore } from '../shared/policy/store.ts';
import { completeRoundSettings, requestRound } from '../shared/round.ts';
import type { Settings } from '../shared/settings.ts';
import { countNewPairs } from './data/pairs.ts';
import { type Progress, RoundRecord, type RoundRow } from './record.ts';
import { runRound, type Workshop } from './round.ts';

export type Watch = (round: RoundRow, progress: Progress) => void;

const LOOK_EVERY = 5000;
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
  await boss.work(QUEUE, () => askIfDue(connection, settings));

  let closed = false;
  let wake = () => {};
  const listening = await connection.sql.listen(NEWS, () => wake());
  const loop = (async () => {
    while (!closed) {
      const more = await runNext(connection, workshop, watch).catch((error: unknown) => {
        if (!isUnreachable(error) && !closed) console.error('internal: trainer:', error);
        return false;
      });
      if (more || closed) continue;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, LOOK_EVERY);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  })();
  return {
    async close() {
      closed = true;
      wake();
      await loop;
      await listening.unlisten().catch(() => {});
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

async function openWorkshop(settings: Settings): Promise<Workshop> {
  return { settings, store: await openFolderStore(path.join(settings.ATTUNE_HOME, 'policies')) };
}

/** At the cron's tick: asks for a round where enough new pairs have come and none waits or runs. */
export async function askIfDue({ db }: Connection, settings: Settings): Promise<void> {
  const open = await db.$count(rounds, inArray(rounds.status, ['queued', 'running']));
  if (open > 0) return;
  const pairs = await countNewPairs(db);
  if (pairs >= settings.TRAIN_MIN_PAIRS) await requestRound(db, 'schedule', {});
}

/** Runs the oldest queued round where no other trainer is at work. Returns whether it ran one. */
export async function runNext({ db, url }: Connection, workshop: Workshop, watch: Watch): Promise<boolean> {
  const release = await tryLock(url, LOCKS.train);
  if (!release) return false;
  try {
    await buryDeadRounds({ db });
    const [next] = await db.select().from(rounds).where(eq(rounds.status, 'queued')).orderBy(asc(rounds.id)).limit(1);
    if (!next) return false;
    const [round] = await db
      .update(rounds)
      .set({ status: 'running', started_at: new Date() })
      .where(eq(rounds.id, next.id))
      .returning();
    const record = new RoundRecord(db, next.id, (progress) => watch(round!, progress));
    try {
      await runRound(workshop, round!, record);
    } catch (error) {
      if (!(error instanceof AttuneError)) console.error('internal: round failed:', error);
      await record.finish('failed', 'failed', { reason: (error as Error).message });
    }
    return true;
  } finally {
    await release();
  }
}

/** We hold the lock, so a round that still says it runs has lost its trainer. */
async function buryDeadRounds({ db }: Pick<Connection, 'db'>): Promise<void> {
  const dead = await db
    .update(rounds)
    .set({
      status: 'failed',
      finished_at: new Date(),
      reason: sql`'the trainer was stopped while ' || ${rounds.stage} || '; the pairs will be used by the next round'`,
    })
    .where(eq(rounds.status, 'running'))
    .returning();
  for (const { id, reason } of dead)
    await db
      .insert(round_events)
      .values({ round_id: id, level: 'error', type: 'stage', message: reason ?? '', data: { status: 'failed' } });
}
