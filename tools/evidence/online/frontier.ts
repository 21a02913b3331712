// Comparisons of methods over the online study's runs. Each run is a path from the root (KL 0, win rate ½) through its
// rounds (path.ts); methods are compared at equal KL, because any of them buys win rate with distance from the root.
// Replicates are what is independent: everything else in a study shares prompts and tastes.
import { mean } from '../../report/statistics.ts';
import { describeMethod, type OnlineRunSpec } from './config.ts';
import type { OnlineRound, OnlineRun } from './loop.ts';
import { measureLead, measureLeadAtKl } from './path.ts';
import type { OnlineStudy } from './study.ts';

/** A mean over replicates with its standard error, which is null for a single one. */
export type ReplicateMean = { value: number; error: number | null; count: number };

/** The replicate of a run, and a value of it. */
type Observation = { replicate: number; value: number };

/** Values are averaged within each replicate first. */
export function averageReplicates(observations: readonly Observation[]): ReplicateMean {
  const values = Array.from(Map.groupBy(observations, ({ replicate }) => replicate).values(), (own) =>
    mean(own.map(({ value }) => value)),
  );
  if (values.length === 0) return { value: Number.NaN, error: null, count: 0 };
  const centre = mean(values);
  const variance = values.reduce((total, value) => total + (value - centre) ** 2, 0) / (values.length - 1);
  return { value: centre, error: values.length > 1 ? Math.sqrt(variance / values.length) : null, count: values.length };
}

export function averageRuns(runs: readonly OnlineRun[], value: (run: OnlineRun) => number | null): ReplicateMean {
  return averageReplicates(
    runs.flatMap((run) => {
      const own = value(run);
      return own === null ? [] : [{ replicate: run.spec.seed, value: own }];
    }),
  );
}

/** Runs of one method at one learning rate, over its replicates. */
export type MethodRuns = { name: string; spec: OnlineRunSpec; runs: OnlineRun[] };

export function groupByMethod(runs: readonly OnlineRun[]): MethodRuns[] {
  const groups = Map.groupBy(runs, ({ spec }) => `${describeMethod(spec)}, ${spec.learningRate}`);
  return Array.from(groups, ([name, members]) => ({ name, spec: members[0]!.spec, runs: members }));
}

/** The mean path of a method over its replicates, beginning at the root. */
export function meanPath({ runs }: MethodRuns): { kl: number; winRate: number; chosen: number; length: number }[] {
  const over = (metric: (round: OnlineRound, run: OnlineRun, at: number) => number, at: number) =>
    mean(runs.map((run) => metric(run.rounds[at]!, run, at)));
  const root = { kl: 0, winRate: 0.5, chosen: 0, length: mean(runs.map((run) => run.root.meanLength)) };
  return [
    root,
    ...runs[0]!.rounds.map((_, at) => ({
      kl: over((round) => round.kl, at),
      winRate: over((round) => round.winRate, at),
      chosen: over(
        (_, run) => run.rounds.slice(0, at + 1).reduce((sum, { chosenChange }) => sum + (chosenChange ?? 0), 0),
        at,
      ),
      length: over((round) => round.meanLength, at),
    })),
  ];
}

export type Factor = keyof OnlineRunSpec;

export type Effect = {
  difference: ReplicateMean;
  /** Pairs of runs that reach the KL, and those of which one or both do not. */
  pairs: number;
  dropped: number;
};

/**
 * What changing one factor does to the win rate: the mean difference over pairs of runs that are equal otherwise, seed
 * and taste included. At one KL, or, without one, over all KLs that both runs pass.
 */
export function compareFactor(
  runs: readonly OnlineRun[],
  factor: Factor,
  from: unknown,
  to: unknown,
  kl?: number,
): Effect {
  const keyOf = ({ spec }: OnlineRun) => JSON.stringify({ ...spec, [factor]: null });
  const others = new Map(runs.filter(({ spec }) => spec[factor] === to).map((run) => [keyOf(run), run]));
  const pairs = runs.flatMap((run) => {
    const other = run.spec[factor] === from ? others.get(keyOf(run)) : undefined;
    return other ? [{ run, other }] : [];
  });
  const observations = pairs.flatMap(({ run, other }) => {
    const value = kl === undefined ? measureLead(other, run) : measureLeadAtKl(other, run, kl);
    return value === null ? [] : [{ replicate: run.spec.seed, value }];
  });
  return {
    difference: averageReplicates(observations),
    pairs: observations.length,
    dropped: pairs.length - observations.length,
  };
}

/** How much more a method wins than another, over all KLs that both pass; null without runs of the same replicates. */
export function compareMethods(method: MethodRuns, other: MethodRuns): ReplicateMean | null {
  const lead = averageRuns(method.runs, (run) => {
    const rival = other.runs.find(({ spec }) => spec.seed === run.spec.seed);
    return rival ? measureLead(run, rival) : null;
  });
  return lead.count > 0 ? lead : null;
}

const CSV_COLUMNS = [
  'plan,objective,reduction,negatives,reference,weighting,beta,learning_rate,replay,votes,raters,contradictions,selection',
  'taste,seed,round,pairs,win_rate,utility,kl,mean_length,chosen_change,rejected_change,earlier_margins',
].join(',');

/** One line for each round of each run. */
export function formatCsv(studies: readonly OnlineStudy[]): string {
  const lines = studies.flatMap(({ plan, runs }) =>
    runs.flatMap(({ spec: s, rounds }) =>
      rounds.map((round, at) =>
        [
          ...[
            plan.name,
            s.objective,
            s.reduction,
            s.negatives,
            s.reference,
            s.weighting,
            s.beta,
            s.learningRate,
            s.replay,
          ],
          ...[s.votes, s.raters ?? 1, s.contradictions ?? 'keep', s.selection ?? 'all', s.taste, s.seed, at + 1],
          ...[round.pairs, ...[round.winRate, mean(round.utilities), round.kl].map((value) => value.toFixed(4))],
          ...[round.meanLength, round.chosenChange, round.rejectedChange].map(formatValue),
          (round.earlierMargins ?? []).map(formatValue).join(' '),
        ].join(','),
      ),
    ),
  );
  return `${[CSV_COLUMNS, ...lines.sort()].join('\n')}\n`;
}

/** Empty without held-out pairs: all of them were ties. */
function formatValue(value: number | null): string {
  return value === null ? '' : value.toFixed(3);
}
