// The path of a run in the plane of KL and win rate: it begins at the root (KL 0, win rate ½) and has a point for each
// round. Win rates grow about with the square root of a small KL (Gao et al. 2023, arXiv 2210.10760), so between two
// points the path is a straight line in √KL.
import { mean } from '../../report/statistics.ts';
import type { OnlineRun } from './loop.ts';

/** The win rate at a KL from the root, interpolated between rounds in √KL; null if the run does not reach it. */
export function winRateAtKl({ rounds }: OnlineRun, kl: number): number | null {
  let before = { kl: 0, winRate: 0.5 };
  for (const round of rounds) {
    if (round.kl >= kl)
      return before.winRate + shareBetween(before.kl, round.kl, kl) * (round.winRate - before.winRate);
    before = round;
  }
  return null;
}

/** How far √kl is on the way from √from to √to. */
export function shareBetween(from: number, to: number, kl: number): number {
  return (Math.sqrt(kl) - Math.sqrt(from)) / (Math.sqrt(to) - Math.sqrt(from));
}

/** The difference of two runs' win rates at a KL; null if one of them does not reach it. */
export function measureLeadAtKl(run: OnlineRun, other: OnlineRun, kl: number): number | null {
  const [own, others] = [winRateAtKl(run, kl), winRateAtKl(other, kl)];
  return own === null || others === null ? null : own - others;
}

/** Steps of √KL over which a lead is averaged. */
const LEAD_STEPS = 40;

/** The mean difference of two runs' win rates over the KLs that both pass, evenly in √KL. */
export function measureLead(run: OnlineRun, other: OnlineRun): number {
  const passed = Math.min(...[run, other].map(({ rounds }) => Math.max(...rounds.map(({ kl }) => kl))));
  const kls = Array.from({ length: LEAD_STEPS }, (_, i) => passed * ((i + 0.5) / LEAD_STEPS) ** 2);
  return mean(kls.map((kl) => measureLeadAtKl(run, other, kl)!));
}
