// What a gate can see: for candidates that are truly better than their parents, and for ones that were trained on random
// or inverted votes, how often the lower end of a 95% interval of each statistic is above 0 with a given number of
// held-out pairs. True is what the raters' own utility says of fresh responses.
import { mulberry32, shuffle } from '../../../shared/random.ts';
import { boundMargins } from '../../../trainer/evaluation/preference-gain.ts';
import { mean } from '../../report/statistics.ts';
import type { HeldOutOutcome, OnlineRound, OnlineRun } from './loop.ts';

/** One number for each held-out pair; a positive mean speaks for the candidate. */
export type GateStatistic = { name: string; values(pairs: readonly HeldOutOutcome[]): number[] };

/** How much more the candidate prefers the chosen response to the rejected one than its parent does, in nats. */
export function marginGain({ parent, candidate, lengths }: HeldOutOutcome, reduction: 'sum' | 'mean'): number {
  const gain = (side: 'chosenLogp' | 'rejectedLogp', length: number) =>
    (candidate[side] - parent[side]) / (reduction === 'mean' ? length : 1);
  return gain('chosenLogp', lengths[0]) - gain('rejectedLogp', lengths[1]);
}

const margins = (pairs: readonly HeldOutOutcome[], reduction: 'sum' | 'mean') =>
  pairs.map((pair) => marginGain(pair, reduction));

const sign = (margin: number) => Math.sign(margin) / 2;

/** Reduction of the log-loss −log σ(βm) below that of the parent, ln 2. */
const logLoss = (beta: number) => (margin: number) => Math.LN2 - Math.log1p(Math.exp(-beta * margin));

export const GATE_STATISTICS: readonly GateStatistic[] = [
  {
    name: 'loss of the objective',
    values: (pairs) => pairs.map(({ parent, candidate }) => parent.loss - candidate.loss),
  },
  { name: 'margin, sum', values: (pairs) => margins(pairs, 'sum') },
  { name: 'margin, mean', values: (pairs) => margins(pairs, 'mean') },
  { name: 'accuracy, sum', values: (pairs) => margins(pairs, 'sum').map(sign) },
  { name: 'accuracy, mean', values: (pairs) => margins(pairs, 'mean').map(sign) },
  { name: 'log-loss, β 0.1, sum', values: (pairs) => margins(pairs, 'sum').map(logLoss(0.1)) },
  { name: 'log-loss, β 1, sum', values: (pairs) => margins(pairs, 'sum').map(logLoss(1)) },
  { name: 'bounded margin, sum', values: (pairs) => boundMargins(margins(pairs, 'sum')) },
  { name: 'bounded margin, mean', values: (pairs) => boundMargins(margins(pairs, 'mean')) },
];

/** What is true of a candidate: its mean utility less its parent's on the same prompts, and how sure that is. */
export type Truth = 'better' | 'worse' | 'unclear';

export function judgeTruth(parent: readonly number[], candidate: readonly number[]): Truth {
  const t = studentT(candidate.map((utility, i) => utility - parent[i]!));
  return t > Z95 ? 'better' : t < -Z95 ? 'worse' : 'unclear';
}

export type PassRate = { statistic: string; pairs: number; rate: number; candidates: number };

/** The share of passes over `draws` random subsets of each candidate's held-out pairs. */
export function measurePassRates(
  candidates: readonly OnlineRound[],
  pairCounts: readonly number[],
  statistics: readonly GateStatistic[] = GATE_STATISTICS,
  draws = 40,
): PassRate[] {
  // The same candidates for every number of pairs.
  const enough = candidates.filter(({ heldOut }) => heldOut.length >= Math.max(...pairCounts));
  return pairCounts.flatMap((pairs) =>
    statistics.map(({ name, values }) => {
      const passes = enough.flatMap(({ heldOut }, at) =>
        Array.from({ length: draws }, (_, draw) => {
          const drawn = shuffle(heldOut, mulberry32(1000 * at + draw)).slice(0, pairs);
          return studentT(values(drawn)) > Z95 ? 1 : 0;
        }),
      );
      return { statistic: name, pairs, rate: mean(passes), candidates: enough.length };
    }),
  );
}

/** Every round of the runs with its parent's utilities. */
export function listCandidates(runs: readonly OnlineRun[]): { run: OnlineRun; round: OnlineRound; truth: Truth }[] {
  return runs.flatMap((run) =>
    run.rounds.map((round, at) => {
      const parent = at === 0 ? run.root : run.rounds[at - 1]!;
      return { run, round, truth: judgeTruth(parent.utilities, round.utilities) };
    }),
  );
}

const Z95 = 1.96;

/** Mean over its standard error: one pair a prompt, so that the pairs are independent. 0 without spread. */
function studentT(values: readonly number[]): number {
  const centre = mean(values);
  const variance = values.reduce((total, value) => total + (value - centre) ** 2, 0) / (values.length - 1);
  return variance === 0 ? 0 : centre / Math.sqrt(variance / values.length);
}
