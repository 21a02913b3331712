// The results of a demo run, complete or partial: the only input of the summary and the report.

import type { Logps, LogpsBeforeAfter } from '../report/logp-densities.ts';
import type { Checkpoint, Round } from './client.ts';
import type { Votes } from './collect-votes.ts';
import type { DemoConfig } from './config.ts';
import type { Continuations, WinRate } from './evaluation.ts';
import type { CanaryResult } from './judge-canary.ts';
import type { ProbeResult } from './probe.ts';

export type RoundResult = {
  votes: Votes;
  round: Round;
  checkpoints: Checkpoint[];
  trainSeconds: number;
  probe: ProbeResult;
  /** null if the policy did not become active: the gate rejected it, or it was rolled back as a canary */
  publication: Publication | null;
  /** null if its policy was no canary */
  canary: (CanaryResult & { winRate: WinRate }) | null;
};

export type Publication = { policy: string; swapSeconds: number; winRate: WinRate };

export type DemoResult = {
  config: DemoConfig;
  url: string;
  startedAt: Date;
  seconds: number;
  reference: string | null;
  /** the active policy at the start: the reference, unless this server has trained before */
  initialPolicy: string | null;
  rounds: RoundResult[];
  prompts: string[];
  referenceTexts: Continuations | null;
  newestTexts: Continuations | null;
  /** the error that ended the run early */
  failure: string | null;
};

export function getNewestPublication(result: DemoResult): Publication | null {
  return result.rounds.findLast((round) => round.publication)?.publication ?? null;
}

/** Held-out log-probabilities before and after a round, mean per token of each response; null before both exist. */
export function getHeldOutLogps(round: RoundResult): LogpsBeforeAfter | null {
  const logps = round.checkpoints.flatMap(({ split, logps }): Logps[] =>
    split === 'held_out' && logps ? [logps] : [],
  );
  if (logps.length < 2) return null;
  return { before: logps[0]!, after: logps.at(-1)! };
}
