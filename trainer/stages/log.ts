// The log of a round: its stage, events and metrics in Postgres, each committed when it happens, and the progress that
// the command line prints. A claim gives the round a new owner (a fencing token): whatever a trainer believes, only the
// owner writes.

import { and, eq, sql } from 'drizzle-orm';
import { notifyChange } from '../../shared/database/channels.ts';
import type { Database } from '../../shared/database/connect.ts';
import type { RoundStage } from '../../shared/database/round-types.ts';
import { round_events, round_metrics, rounds } from '../../shared/database/schema.ts';
import { AttuneError, getErrorMessage } from '../../shared/error.ts';
import { getPublished } from '../../shared/rounds/published.ts';
import type { RoundRow } from '../../shared/rounds/schedule.ts';
import { writeEvent } from '../../shared/webhooks/event.ts';
import { ProgressWriter } from './progress-writer.ts';
import { TimeLeft } from './time-left.ts';

type Changes = Partial<typeof rounds.$inferInsert>;
export type FinalStage = Extract<RoundStage, 'canary' | 'active' | 'published' | 'refused' | 'previewed' | 'failed'>;

/** `secondsLeft`: of the whole round; null: not known. */
export type Progress = { stage: RoundStage; done: number; total: number; note: string; secondsLeft: number | null };

/** This trainer stops here and leaves the round as it is; the next trainer resumes it. */
export class InterruptedError extends AttuneError {}

export class RoundLog {
  readonly db: Database;
  readonly roundId: string;
  private readonly owner: string;
  private readonly stopped: AbortSignal;
  private readonly onProgress: (progress: Progress) => void;
  private readonly progress: ProgressWriter;
  readonly timeLeft = new TimeLeft();

  /** Once `stopped` is aborted, nothing more is written. */
  constructor(
    db: Database,
    { id, owner }: { id: string; owner: string },
    stopped: AbortSignal,
    onProgress: (progress: Progress) => void,
  ) {
    this.db = db;
    this.roundId = id;
    this.owner = owner;
    this.stopped = stopped;
    this.onProgress = onProgress;
    this.progress = new ProgressWriter((progress) => db.update(rounds).set({ progress }).where(this.isOwned()));
  }

  /**
   * Writes in one transaction in which this trainer owns the round: its row stays locked, so that another trainer can
   * claim it before or after, not in between. Throws InterruptedError if the round is stopped or has another owner.
   */
  async write<Result>(work: (transaction: Database) => Promise<Result>): Promise<Result> {
    this.throwIfStopped();
    return this.db.transaction(async (transaction) => {
      const [owned] = await transaction.select().from(rounds).where(this.isOwned()).for('no key update');
      if (!owned) throw new InterruptedError(`${this.roundId}: another trainer has taken it over or ended it`);
      return work(transaction);
    });
  }

  async enterStage(stage: RoundStage, message: string, changes: Changes = {}): Promise<void> {
    await this.write(async (transaction) => {
      await this.set(transaction, { stage, ...changes });
      await this.insertEvent(transaction, { type: 'stage', message, data: { stage } });
    });
    this.reportProgress(stage, 0, 0, message);
  }

  async update(changes: Changes): Promise<void> {
    await this.write((transaction) => this.set(transaction, changes));
  }

  async addEvent(
    type: 'stage' | 'message' | 'metrics',
    message: string,
    data: Record<string, unknown> = {},
    level: 'info' | 'warn' | 'error' = 'info',
  ): Promise<void> {
    await this.write((transaction) => this.insertEvent(transaction, { type, message, data, level }));
  }

  async addMetrics(
    step: number,
    split: 'train' | 'held_out',
    metrics: Record<string, number>,
    logps: { chosen: number[]; rejected: number[] } | null = null,
  ): Promise<void> {
    const values = keepFinite(metrics);
    await this.write((transaction) =>
      transaction
        .insert(round_metrics)
        .values({ round_id: this.roundId, step, split, values, logps })
        .onConflictDoUpdate({
          target: [round_metrics.round_id, round_metrics.step, round_metrics.split],
          set: { values, logps },
        }),
    );
  }

  /** Between two steps; throws InterruptedError if the round is stopped. */
  reportProgress(stage: RoundStage, done: number, total: number, note: string): void {
    const secondsLeft = this.timeLeft.observe({ stage, done, total }, performance.now() / 1000);
    this.onProgress({ stage, done, total, note, secondsLeft });
    this.throwIfStopped();
    this.progress.write({ stage, done, total, seconds_left: secondsLeft });
  }

  /** Ends the round; `reason` replaces the one in its row. */
  async finish(stage: FinalStage, reason?: string): Promise<void> {
    await this.write((transaction) => this.end(transaction, stage, reason));
  }

  /** As `finish`, in a transaction of `write`. */
  async end(transaction: Database, stage: FinalStage, reason?: string): Promise<void> {
    const status = stage === 'failed' ? 'failed' : 'succeeded';
    const row = await this.set(transaction, { stage, status, reason, finished_at: new Date() });
    const level = status === 'failed' ? 'error' : 'info';
    await this.insertEvent(transaction, { type: 'stage', message: reason ?? stage, data: { stage, status }, level });
    // Nobody waits for what a dry run says but whoever asked for it.
    if (row.dry_run) return;
    const data = { id: row.id, ...getPublished(row), metrics: row.metrics, reason: row.reason };
    await writeEvent(transaction, `round.${status}`, data);
  }

  /** Gives the round back to the next trainer: this attempt does not count. Does nothing if it has another owner. */
  async release(reason: string): Promise<void> {
    await this.db.transaction(async (transaction) => {
      const [row] = await transaction
        .update(rounds)
        .set({ owner: null, attempts: sql`${rounds.attempts} - 1` })
        .where(this.isOwned())
        .returning();
      if (!row) return;
      const message = `stopped while ${row.stage}: ${reason}`;
      await this.insertEvent(transaction, { type: 'message', message, data: {}, level: 'warn' });
    });
  }

  private isOwned() {
    return and(eq(rounds.id, this.roundId), eq(rounds.owner, this.owner), eq(rounds.status, 'running'));
  }

  /** Between two parts of a work that reports no progress; throws InterruptedError. */
  throwIfStopped(): void {
    if (this.stopped.aborted) throw new InterruptedError(`${this.roundId}: ${getErrorMessage(this.stopped.reason)}`);
  }

  /** As `update`, in a transaction of `write`. */
  async set(transaction: Database, changes: Changes): Promise<RoundRow> {
    const [row] = await transaction.update(rounds).set(changes).where(eq(rounds.id, this.roundId)).returning();
    return row!;
  }

  private async insertEvent(
    transaction: Database,
    event: Omit<typeof round_events.$inferInsert, 'round_id' | 'level'> & { level?: 'info' | 'warn' | 'error' },
  ): Promise<void> {
    await transaction.insert(round_events).values({ round_id: this.roundId, level: 'info', ...event });
    await notifyChange(transaction, this.roundId);
  }
}

/** JSON has no NaN: a metric that is not finite is left out here, and the gate reports it by name. */
export function keepFinite(metrics: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(metrics).filter(([, value]) => Number.isFinite(value)));
}
