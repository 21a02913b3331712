// How long the rest of a running round takes: what is left to compute, in the positions of a forward pass, at the rate that
// was measured so far. A part that has begun has its own rate, and those that follow the rate of all that is done.

import type { RoundStage } from '../../shared/database/round-types.ts';

/** A count of a stage: stages have one after the other. */
export type Part = { stage: RoundStage; work: number };

type Measured = { seconds: number; work: number };

const NOTHING: Measured = { seconds: 0, work: 0 };

export class TimeLeft {
  private parts: Part[] = [];
  private at = -1;
  /** Of the part that is counted: its total, how far it is, and since when and from where it was seen. */
  private current = { total: 0, share: 0, firstShare: 0, firstSeconds: 0 };
  private measured: Measured = NOTHING;
  private before: Measured = NOTHING;

  plan(parts: Part[]): void {
    this.parts = parts;
    this.at = -1;
  }

  /** Seconds until the round has ended; null while no rate is known. `seconds`: of any clock. */
  observe({ stage, done, total }: { stage: RoundStage; done: number; total: number }, seconds: number): number | null {
    if (total > 0) this.count(stage, Math.min(1, done / total), total, seconds);
    const rate = this.measured.work > 0 ? this.measured.seconds / this.measured.work : null;
    const part = this.parts[this.at];
    if (rate === null || !part) return null;
    const { share, firstShare, firstSeconds } = this.current;
    const own = share > firstShare ? (seconds - firstSeconds) / ((share - firstShare) * part.work) : rate;
    const rest = this.parts.slice(this.at + 1).reduce((sum, { work }) => sum + work, 0);
    // Announced before anything of it is counted.
    const isOver = total === 0 && part.stage !== stage;
    const left = (isOver ? 0 : (1 - share) * part.work * own) + rest * rate;
    return Number.isFinite(left) ? Math.max(0, left) : null;
  }

  private count(stage: RoundStage, share: number, total: number, seconds: number): void {
    const isSame = this.parts[this.at]?.stage === stage && this.current.total === total && share >= this.current.share;
    if (!isSame) {
      const next = this.parts.findIndex((part, at) => at > this.at && part.stage === stage);
      if (next < 0) return;
      this.at = next;
      this.before = this.measured;
      this.current = { total, share, firstShare: share, firstSeconds: seconds };
    }
    this.current.share = share;
    const { firstShare, firstSeconds } = this.current;
    this.measured = {
      seconds: this.before.seconds + seconds - firstSeconds,
      work: this.before.work + (share - firstShare) * this.parts[this.at]!.work,
    };
  }
}
