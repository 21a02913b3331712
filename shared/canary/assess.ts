// What is known about a canary: votes, the evidence after each of them, guards, and when it closes.

import type { Database } from '../database/connect.ts';
import type { Settings } from '../settings.ts';
import type { CanaryRow } from '../store/canary-states.ts';
import { measureEvidence, THRESHOLD } from './e-process.ts';
import { checkGuards, type Guard } from './guards.ts';
import { readServed } from './served.ts';
import { type CountedVote, readVotes, type Votes } from './votes.ts';

export type CanarySettings = Pick<
  Settings,
  'CANARY_MAX_HOURS' | 'CANARY_MAX_VOTES' | 'CANARY_RATER_VOTES' | 'WATCH_HOURS'
>;

/** After a vote. `better`, `worse`: log10 of E+ and E−. */
export type Step = { at: Date; wins: number; losses: number; better: number; worse: number };

export type Assessment = {
  votes: Votes;
  steps: Step[];
  guards: Guard[];
  /** when it expires, or its watch ends */
  closesAt: Date;
};

export async function assessCanary(db: Database, settings: CanarySettings, row: CanaryRow): Promise<Assessment> {
  const votes = await readVotes(db, row, settings.CANARY_RATER_VOTES);
  const { candidate, baseline } = await readServed(db, row, settings);
  return {
    votes,
    steps: walkVotes(votes.counted),
    guards: checkGuards(candidate, baseline, row.promoted_at === null),
    closesAt: row.promoted_at
      ? addHours(row.promoted_at, settings.WATCH_HOURS)
      : addHours(row.created_at, settings.CANARY_MAX_HOURS),
  };
}

export function walkVotes(votes: CountedVote[]): Step[] {
  let wins = 0;
  return votes.map(({ isWin, at }, index) => {
    if (isWin) wins++;
    const losses = index + 1 - wins;
    return { at, wins, losses, better: measureEvidence(wins, losses), worse: measureEvidence(losses, wins) };
  });
}

/**
 * The first step at which the votes decide: in the order of votes and not at the time of a look, so that whoever looks, and
 * when, decides the same.
 */
export function findDecision(steps: Step[]): { step: Step; isBetter: boolean } | null {
  const step = steps.find(({ better, worse }) => better >= THRESHOLD || worse >= THRESHOLD);
  return step ? { step, isBetter: step.better >= THRESHOLD } : null;
}

function addHours(date: Date, hours: number): Date {
  return new Date(date.getTime() + 3_600_000 * hours);
}
