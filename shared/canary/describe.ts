// A canary as operators see it: its votes, the evidence, and what the guards say.

import type { Database } from '../database/connect.ts';
import type { Interval } from '../database/round-types.ts';
import type { CanaryRow } from '../store/canary-states.ts';
import { assessCanary, type CanarySettings, type Step, walkVotes } from './assess.ts';
import { estimateWinRate, measureEvidence, THRESHOLD } from './e-process.ts';
import type { Guard } from './guards.ts';
import { readVotes } from './votes.ts';

export type CanaryDescription = {
  votes: {
    wins: number;
    losses: number;
    ties: number;
    both_bad: number;
    repeated: number;
    over_limit: number;
    raters: number;
    max: number;
  };
  /** in log10 */
  evidence: {
    better: number;
    worse: number;
    threshold: number;
    win_rate: { value: number; interval: Interval } | null;
  };
  guards: Guard[];
  /** in seconds since 1970; null: it has ended */
  closes_at: number | null;
};

/** `at` in seconds since 1970. */
export type EvidencePoint = Omit<Step, 'at'> & { votes: number; at: number };

/** Points of a plot: more cannot be told apart. */
const MAX_POINTS = 2000;

export async function describeCanary(
  db: Database,
  settings: CanarySettings,
  row: CanaryRow,
): Promise<CanaryDescription> {
  const { votes, steps, guards, closesAt } = await assessCanary(db, settings, row);
  const { wins, losses } = steps.at(-1) ?? { wins: 0, losses: 0 };
  const count = wins + losses;
  return {
    votes: {
      wins,
      losses,
      ties: votes.ties,
      both_bad: votes.bothBad,
      repeated: votes.repeated,
      over_limit: votes.overLimit,
      raters: votes.raters,
      max: settings.CANARY_MAX_VOTES,
    },
    evidence: {
      better: measureEvidence(wins, losses),
      worse: measureEvidence(losses, wins),
      threshold: THRESHOLD,
      win_rate: count === 0 ? null : { value: wins / count, interval: estimateWinRate(wins, losses) },
    },
    guards,
    closes_at: row.ended_at ? null : toSeconds(closesAt),
  };
}

/** The evidence after each vote that counts, oldest first; of very many votes after some of them. */
export async function listEvidence(db: Database, settings: CanarySettings, row: CanaryRow): Promise<EvidencePoint[]> {
  const steps = walkVotes((await readVotes(db, row, settings.CANARY_RATER_VOTES)).counted);
  const stride = Math.ceil(steps.length / MAX_POINTS);
  return steps
    .map((step, index) => ({ ...step, votes: index + 1, at: toSeconds(step.at) }))
    .filter(({ votes }) => votes % stride === 0 || votes === steps.length);
}

function toSeconds(date: Date): number {
  return Math.floor(date.getTime() / 1000);
}
