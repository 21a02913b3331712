// The log of a round: its stage, events and metrics in Postgres, each committed when it happens, and the progress that
// the command line prints. The wording of a round's messages is here too.

import { and, eq } from 'drizzle-orm';
import { notifyChange } from '../../shared/database/channels.ts';
import type { Database } from '../../shared/database/connect.ts';
import type { PairCounts, RoundStage } from '../../shared/database/round-types.ts';
import { round_events, round_metrics, rounds } from '../../shared/database/schema.ts';
import type { RoundRow } from '../../shared/rounds/schedule.ts';
import { writeEvent } from '../../shared/webhooks/event.ts';
import type { WeightedPairs } from './importance.ts';

type Changes = Partial<typeof rounds.$inferInsert>;
export type FinalStage = Extract<RoundStage, 'active' | 'published' | 'refused' | 'failed'>;

export type Progress = { stage: RoundStage; done: number; total: number; note: string };

/** Thrown by a progress listener to stop a round between two steps; the next trainer resumes it there. */
export class InterruptedError extends Error {}

export class RoundLog {
  readonly db: Database;
  readonly roundId: string;
  private readonly onProgress: (progress: Progress) => void;

  constructor(db: Database, roundId: string, onProgress: (progress: Progress) => void) {
    this.db = db;
    this.roundId = roundId;
    this.onProgress = onProgress;
  }

  /** Throws if the round is no longer running: another trainer has claimed and ended it. */
  async enterStage(stage: RoundStage, message: string, changes: Changes = {}): Promise<void> {
    await this.update({ stage, ...changes });
    await this.addEvent('stage', message, { stage });
    this.reportProgress(stage, 0, 0, message);
  }

  /** Throws if the round is no longer running. */
  async update(changes: Changes, db: Database = this.db): Promise<RoundRow> {
    const [row] = await db
      .update(rounds)
      .set(changes)
      .where(and(eq(rounds.id, this.roundId), eq(rounds.status, 'running')))
      .returning();
    if (!row) throw new Error(`internal: ${this.roundId} is no longer running; another trainer ended it`);
    return row;
  }

  async addEvent(
    type: 'stage' | 'message' | 'metrics',
    message: string,
    data: Record<string, unknown> = {},
    level: 'info' | 'warn' | 'error' = 'info',
  ): Promise<void> {
    await this.db.insert(round_events).values({ round_id: this.roundId, level, type, message, data });
    await notifyChange(this.db, this.roundId);
  }

  async addMetrics(
    step: number,
    split: 'train' | 'held_out',
    metrics: Record<string, number>,
    logps: { chosen: number[]; rejected: number[] } | null = null,
  ): Promise<void> {
    const values = keepFinite(metrics);
    await this.db
      .insert(round_metrics)
      .values({ round_id: this.roundId, step, split, values, logps })
      .onConflictDoUpdate({
        target: [round_metrics.round_id, round_metrics.step, round_metrics.split],
        set: { values, logps },
      });
  }

  reportProgress(stage: RoundStage, done: number, total: number, note: string): void {
    this.onProgress({ stage, done, total, note });
  }

  /** Ends the round; `reason` replaces the one in its row. */
  async finish(stage: FinalStage, reason?: string): Promise<void> {
    const status = stage === 'failed' ? 'failed' : 'succeeded';
    await this.update(reason === undefined ? { stage } : { stage, reason });
    await this.addEvent('stage', reason ?? stage, { stage, status }, status === 'failed' ? 'error' : 'info');
    // The status is written last: a client that waits for it finds everything else written.
    await this.db.transaction(async (transaction) => {
      const row = await this.update({ status, finished_at: new Date() }, transaction);
      const data = { id: row.id, policy: row.policy_id, metrics: row.metrics, reason: row.reason };
      await writeEvent(transaction, `round.${status}`, data);
      await notifyChange(transaction, this.roundId);
    });
  }
}

/** JSON has no NaN: a metric that is not finite is left out here, and the gate reports it by name. */
export function keepFinite(metrics: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(metrics).filter(([, value]) => Number.isFinite(value)));
}

export async function logSelection(log: RoundLog, counts: PairCounts, minPairs: number): Promise<void> {
  const { left_out: leftOut, ages } = counts;
  await log.addEvent('message', `${counts.train} pairs to train on, ${counts.held_out} held out`, { ages, ...leftOut });
  if (leftOut.stale + leftOut.identical + leftOut.empty > 0)
    await log.addEvent('message', `left out: ${describeLeftOut(leftOut)}`, leftOut, 'warn');
  if (counts.new < minPairs) {
    const message = `${counts.new} new pairs are fewer than the TRAIN_MIN_PAIRS (${minPairs}) of a scheduled round`;
    await log.addEvent('message', message, {}, 'warn');
  }
}

export function describeLeftOut({ stale, identical, empty }: PairCounts['left_out']): string {
  return `${stale} sampled too long ago, ${identical} with two equal responses, ${empty} with an empty response`;
}

export async function logImportance(log: RoundLog, weighted: WeightedPairs, cap: number): Promise<void> {
  const { negatives, known, capped, effectiveSampleSize: effective } = weighted;
  await log.addEvent(
    'message',
    `importance weights: ${known} negatives have an effective sample size of ${effective.toFixed(1)}, ${capped} capped at ${cap}, ${negatives - known} unknown with weight 1`,
    { negatives, known, capped, effective },
  );
}
