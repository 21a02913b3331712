// A round's written record: its stage, events and metrics, each committed as it happens, and told to whoever watches.

import { and, eq } from 'drizzle-orm';
import { notifyChange } from '../../shared/database/channels.ts';
import type { Database } from '../../shared/database/connect.ts';
import type { RoundStage } from '../../shared/database/round-types.ts';
import { round_events, round_metrics, rounds } from '../../shared/database/schema.ts';
import { writeEvent } from '../../shared/webhooks/event.ts';

export type RoundRow = typeof rounds.$inferSelect;
type Changes = Partial<typeof rounds.$inferInsert>;

export type Progress = { stage: RoundStage; done: number; total: number; note: string };

/** Thrown by whoever watches, to stop a round between two steps: it stays as it is, and the next trainer goes on. */
export class Interruption extends Error {}

export class RoundRecord {
  readonly db: Database;
  readonly roundId: string;
  private readonly watch: (progress: Progress) => void;

  constructor(db: Database, roundId: string, watch: (progress: Progress) => void) {
    this.db = db;
    this.roundId = roundId;
    this.watch = watch;
  }

  /** Enters a stage. Throws where the round is no longer ours to run (another trainer took it for dead). */
  async enter(stage: RoundStage, message: string, changes: Changes = {}): Promise<void> {
    await this.change({ stage, ...changes });
    await this.say('stage', message, { stage });
    this.watch({ stage, done: 0, total: 0, note: message });
  }

  async change(changes: Changes, db: Database = this.db): Promise<RoundRow> {
    const [held] = await db
      .update(rounds)
      .set(changes)
      .where(and(eq(rounds.id, this.roundId), eq(rounds.status, 'running')))
      .returning();
    if (!held) throw new Error(`internal: ${this.roundId} is no longer running; another trainer ended it`);
    return held;
  }

  async say(
    type: 'stage' | 'message' | 'metrics',
    message: string,
    data: object = {},
    level: 'info' | 'warn' | 'error' = 'info',
  ) {
    await this.db
      .insert(round_events)
      .values({ round_id: this.roundId, level, type, message, data: data as { [key: string]: unknown } });
    await notifyChange(this.db, this.roundId);
  }

  async measure(
    step: number,
    split: 'train' | 'held_out',
    values: { [name: string]: number },
    logps: { chosen: number[]; rejected: number[] } | null = null,
  ): Promise<void> {
    await this.db
      .insert(round_metrics)
      .values({ round_id: this.roundId, step, split, values: finite(values), logps })
      .onConflictDoUpdate({
        target: [round_metrics.round_id, round_metrics.step, round_metrics.split],
        set: { values: finite(values), logps },
      });
  }

  progress(stage: RoundStage, done: number, total: number, note: string): void {
    this.watch({ stage, done, total, note });
  }

  async finish(status: 'succeeded' | 'failed', stage: RoundStage, changes: Changes): Promise<void> {
    await this.change({ stage, ...changes });
    await this.say('stage', changes.reason ?? stage, { stage, status }, status === 'failed' ? 'error' : 'info');
    // Last: whoever waits for the end finds everything else written.
    await this.db.transaction(async (transaction) => {
      const { policy_id, metrics, reason } = await this.change({ status, finished_at: new Date() }, transaction);
      await writeEvent(transaction, `round.${status}`, { id: this.roundId, policy: policy_id, metrics, reason });
      await notifyChange(transaction, this.roundId);
    });
  }
}

/** JSON has no NaN; a metric that is not a number is left out, and the gate names it. */
export function finite(values: { [name: string]: number }): { [name: string]: number } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => Number.isFinite(value)));
}
