// Strengths of players with 95% intervals, their ranks, and between which ranks each may be.

import type { Matrix } from 'ml-matrix';
import type { Interval } from '../database/round-types.ts';
import { type Fit, fitBradleyTerry } from './bradley-terry.ts';
import { type Clusters, covarianceByClusters, numberClusters, varianceOfDifference } from './cluster-covariance.ts';
import { MIN_CLUSTERS, studentQuantile } from './confidence-interval.ts';
import { aggregateDuels, type Duels, filterDuels } from './duels.ts';
import { groupByWins, listWins } from './win-groups.ts';

/** Single votes, with who gave each and on what. */
export type Votes = Duels & { rater: Int32Array; prompt: Int32Array };

export type ClusterName = 'rater' | 'prompt';

export type RankedPlayer = {
  /** log-odds against the first player of its group; null: the likelihood has no maximum */
  strength: number | null;
  interval: Interval | null;
  rank: number;
  rankInterval: { best: number; worst: number } | null;
  /** the index of its group, those who win before those who lose: strengths of two groups cannot be compared */
  group: number;
};

export type Ranking = {
  players: RankedPlayer[];
  groups: number[][];
  /** null: the likelihood has no maximum, because the covariates tell who wins */
  fit: Fit | null;
  /** by what the intervals are clustered; empty: there are none, because too few raters and prompts voted */
  clusteredBy: ClusterName[];
  /** of each covariate, in log-odds per unit */
  coefficients: { value: number; interval: Interval | null }[] | null;
};

/** The first player of each group has the strength 0. */
export function rankPlayers(votes: Votes): Ranking {
  const groups = groupByWins(listWins(votes));
  const groupOf = new Int32Array(votes.players);
  for (const [index, members] of groups.entries()) for (const player of members) groupOf[player] = index;
  const isWithin = (row: number) => groupOf[votes.first[row]!] === groupOf[votes.second[row]!];
  const rows = [...votes.first.keys()].filter(isWithin);
  const within = filterDuels(votes, isWithin);
  const fit = fitBradleyTerry(
    within.featureCount > 0 ? within : aggregateDuels(within),
    groups.map(([anchor]) => anchor!),
  );
  const clusters = selectClusters({
    rater: numberClusters(rows.map((row) => votes.rater[row]!)),
    prompt: numberClusters(rows.map((row) => votes.prompt[row]!)),
  });
  const uncertainty = fit && clusters.used ? measureUncertainty(within, fit, clusters.used) : null;
  const players = describePlayers(groupOf, fit, uncertainty);
  const toCoefficient = (at: number) => {
    const parameter = votes.players + at;
    const value = fit!.parameters[parameter]!;
    return { value, interval: uncertainty && toInterval(value, uncertainty.deviation(parameter)) };
  };
  return {
    players,
    groups,
    fit,
    clusteredBy: uncertainty ? clusters.names : [],
    coefficients: fit && Array.from({ length: votes.featureCount }, (_, at) => toCoefficient(at)),
  };
}

/** Of a few raters, the sums of scores say nothing: of one it is 0, because the strengths are fitted to it. */
function selectClusters(all: Record<ClusterName, Clusters>) {
  const names = (['rater', 'prompt'] as const).filter((name) => all[name].count >= MIN_CLUSTERS);
  const used = names.map((name) => all[name]) as [Clusters] | [Clusters, Clusters] | [];
  return { names, used: used.length > 0 ? (used as [Clusters] | [Clusters, Clusters]) : null };
}

type Uncertainty = {
  /** half the width of the interval of a parameter, or of the difference of two */
  deviation(parameter: number, other?: number): number;
};

function measureUncertainty(duels: Duels, fit: Fit, clusters: [Clusters] | [Clusters, Clusters]): Uncertainty {
  const covariance: Matrix = covarianceByClusters(duels, fit, clusters);
  const quantile = studentQuantile(Math.min(...clusters.map(({ count }) => count)) - 1);
  return {
    deviation: (parameter, other) =>
      quantile *
      Math.sqrt(
        other === undefined
          ? Math.max(0, covariance.get(parameter, parameter))
          : varianceOfDifference(covariance, parameter, other),
      ),
  };
}

const toInterval = (value: number, deviation: number): Interval => ({
  low: value - deviation,
  high: value + deviation,
});

function describePlayers(groupOf: Int32Array, fit: Fit | null, uncertainty: Uncertainty | null): RankedPlayer[] {
  const players = [...groupOf.keys()];
  const strength = (player: number) => fit?.parameters[player] ?? 0;
  const isBefore = (one: number, other: number) =>
    groupOf[one] === groupOf[other] ? strength(one) > strength(other) : groupOf[one]! < groupOf[other]!;
  const isSurelyBefore = (one: number, other: number) =>
    groupOf[one] === groupOf[other] && strength(one) - strength(other) > uncertainty!.deviation(one, other);
  return players.map((player) => ({
    strength: fit && strength(player),
    interval:
      uncertainty && fit!.free.includes(player) ? toInterval(strength(player), uncertainty.deviation(player)) : null,
    rank: 1 + players.filter((other) => isBefore(other, player)).length,
    rankInterval: uncertainty && {
      best: 1 + players.filter((other) => isSurelyBefore(other, player)).length,
      worst: players.length - players.filter((other) => isSurelyBefore(player, other)).length,
    },
    group: groupOf[player]!,
  }));
}
