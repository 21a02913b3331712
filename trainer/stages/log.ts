// The log of a round: its stage, events and metrics in Postgres, each committed when it happens, and the progress that
// the command line prints. The wording of a round's messages is here too. A claim gives the round a new owner (a fencing
// token): whatever a trainer believes, only the owner writes.

import { and, eq, sql } from 'drizzle-orm';
import { notifyChange } from '../../shared/database/channels.ts';
import type { Database } from '../../shared/database/connect.ts';
import type { PairCounts, RoundStage } from '../../shared/database/round-types.ts';
import { round_events, round_metrics, rounds } from '../../shared/database/schema.ts';
import { AttuneError, getErrorMessage } from '../../shared/error.ts';
import type { RoundRow } from '../../shared/rounds/schedule.ts';
import { writeEvent } from '../../shared/webhooks/event.ts';
import type { WeightedPairs } from './importance.ts';

type Changes = Partial<typeof rounds.$inferInsert>;
export type FinalStage = Extract<RoundStage, 'active' | 'published' | 'refused' | 'failed'>;

export type Progress = { stage: RoundStage; done: number; total: number; note: string };

/** This trainer stops here and leaves the round as it is; the next trainer resumes it. */
export class InterruptedError extends AttuneError {}

export class RoundLog {
  readonly db: Database;
  readonly roundId: string;
  private readonly owner: string;
  private readonly stopped: AbortSignal;
  private readonly onProgress: (progress: Progress) => void;

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
  }

  /**
   * Writes in one transaction in which this trainer owns the round: its row stays locked, so that another trainer can
   * claim it before or after, not in between. Throws InterruptedError if the round is stopped or has another owner.
   */
  async write<Result>(work: (transaction: Database) => Promise<Result>): Promise<Result> {
    this.throwIfStopped();
    return this.db.transaction(async (transaction) => {
      const [owned] = await transaction.select().from(rounds).where(this.isOwned()).for('update');
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
    this.onProgress({ stage, done, total, note });
    this.throwIfStopped();
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
    const data = { id: row.id, policy: row.policy_id, metrics: row.metrics, reason: row.reason };
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

  private throwIfStopped(): void {
    if (this.stopped.aborted) throw new InterruptedError(`${this.roundId}: ${getErrorMessage(this.stopped.reason)}`);
  }

  private async set(transaction: Database, changes: Changes): Promise<RoundRow> {
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

export async function logSelection(log: RoundLog, counts: PairCounts, minPairs: number): Promise<void> {
  const { left_out: leftOut, quality, ages } = counts;
  await log.addEvent('message', `${counts.train} pairs to train on, ${counts.held_out} held out`, { ages, ...leftOut });
  if (Object.values(quality).some((count) => count > 0))
    await log.addEvent('message', describeQuality(quality), quality);
  if (Object.values(leftOut).some((count) => count > 0))
    await log.addEvent('message', `left out: ${describeLeftOut(leftOut)}`, leftOut, 'warn');
  if (counts.new < minPairs) {
    const message = `${counts.new} new pairs are fewer than the TRAIN_MIN_PAIRS (${minPairs}) of a scheduled round`;
    await log.addEvent('message', message, {}, 'warn');
  }
}

export function describeLeftOut({ stale, identical, empty, ...quality }: PairCounts['left_out']): string {
  return (
    `${stale} sampled too long ago, ${identical} with two equal responses, ${empty} with an empty response; by the settings: ` +
    `${quality.near_identical} by MAX_SIMILARITY, ${quality.contradictory} by CONTRADICTIONS, ${quality.low_agreement} by MIN_AGREEMENT`
  );
}

export function describeQuality({ near_identical, contradictory, low_agreement }: PairCounts['quality']): string {
  return `${near_identical} pairs have two nearly equal responses, ${contradictory} were chosen both ways, on ${low_agreement} fewer than three quarters of several raters agree`;
}

export async function logImportance(log: RoundLog, weighted: WeightedPairs, cap: number): Promise<void> {
  const { negatives, known, capped, effectiveSampleSize: effective } = weighted;
  await log.addEvent(
    'message',
    `importance weights: ${known} negatives have an effective sample size of ${effective.toFixed(1)}, ${capped} capped at ${cap}, ${negatives - known} unknown with weight 1`,
    { negatives, known, capped, effective },
  );
}
