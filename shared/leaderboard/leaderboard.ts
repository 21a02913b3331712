// Which policies raters prefer: ratings by the Bradley-Terry model, in points of Elo's scale, with the first policy at 0.

import type { Database } from '../database/connect.ts';
import type { Interval } from '../database/round-types.ts';
import { letOthersRun } from '../event-loop.ts';
import { aggregateDuels, filterDuels } from '../statistics/duels.ts';
import { findRemoval } from '../statistics/first-place.ts';
import {
  type ClusterName,
  type RankedPlayer,
  type Ranking,
  rankPlayers,
  type Votes,
} from '../statistics/rank-players.ts';
import { describeLimits } from './limits.ts';
import { countOtherVotes, type PolicyVote, readVotes, type VoteFilter } from './read-votes.ts';
import { STYLE_FEATURES } from './style.ts';
import {
  addScores,
  dropTies,
  findPlayers,
  type Player,
  type Score,
  scorePairs,
  type Ties,
  toDuels,
  toWinRate,
  turn,
} from './tally.ts';

export type Rating = {
  /** against the first policy of its group; null: the votes do not determine it */
  rating: number | null;
  interval: Interval | null;
  rank: number;
  rank_interval: { best: number; worst: number } | null;
  /** ratings of two groups cannot be compared; groups that win come first */
  group: number;
};

export type LeaderboardPolicy = Player & Score & { votes: number; win_rate: number; ratings: Record<Ties, Rating> };

export type FirstPlace = {
  policy: string;
  rival: string;
  /** so many removed votes put the rival first */
  votes: number;
  share: number;
  removed: { better: string; worse: string; tie: boolean; votes: number }[];
};

export type StyleEffect = {
  feature: string;
  /** for one standard deviation more of it than the other response has; null: it never differs, or as another one does */
  points: number | null;
  interval: Interval | null;
};

export type Leaderboard = {
  object: 'leaderboard';
  ties: Ties;
  votes: {
    counted: number;
    ties: number;
    both_bad: number;
    skips: number;
    same_policy: number;
    raters: number;
    prompts: number;
  };
  /** by what the intervals are clustered; empty: there are none */
  clustered_by: ClusterName[];
  policies: LeaderboardPolicy[];
  pairs: ({ policy: string; other: string; win_rate: number } & Score)[];
  first_place: FirstPlace | null;
  /** null: not asked for, or not determined */
  style: StyleEffect[] | null;
  notes: string[];
};

/** Ten to one is 400 points. */
const POINTS = 400 / Math.LN10;

export async function createLeaderboard(
  db: Database,
  filter: VoteFilter,
  { ties, style }: { ties: Ties; style: boolean },
): Promise<Leaderboard> {
  const read: PolicyVote[] = [];
  for await (const vote of readVotes(db, filter, style)) read.push(vote);
  const players = await findPlayers(db, [...new Set(read.flatMap(({ a, b }) => [a, b]))]);
  const { votes: half, features } = toDuels(read, players);
  const votes = { half, dropped: dropTies(half) };
  const rankings = {} as Record<Ties, Ranking>;
  for (const way of ['half', 'dropped'] as const) {
    await letOthersRun();
    rankings[way] = rankPlayers(votes[way]);
  }
  await letOthersRun();
  const ranking = rankings[ties];
  const pairs = scorePairs(read, players);
  const total = addScores(pairs.map(({ score }) => score));
  return {
    object: 'leaderboard',
    ties,
    votes: {
      counted: read.length,
      ties: total.ties,
      both_bad: total.both_bad,
      ...(await countOtherVotes(db, filter)),
      raters: countDistinct(half.rater),
      prompts: countDistinct(half.prompt),
    },
    clustered_by: ranking.clusteredBy,
    policies: players
      .map((player, at): LeaderboardPolicy => {
        const scores = pairs.flatMap(({ one, other, score }) =>
          one === at ? [score] : other === at ? [turn(score)] : [],
        );
        const score = addScores(scores);
        const ratings = {
          half: toRating(rankings.half.players[at]!),
          dropped: toRating(rankings.dropped.players[at]!),
        };
        const count = score.wins + score.losses + score.ties + score.both_bad;
        return { ...player, votes: count, ...score, win_rate: toWinRate(score), ratings };
      })
      .sort((one, other) => one.ratings[ties].rank - other.ratings[ties].rank),
    pairs: pairs.map(({ one, other, score }) => ({
      policy: players[one]!.policy,
      other: players[other]!.policy,
      ...score,
      win_rate: toWinRate(score),
    })),
    first_place: findFirstPlace(votes[ties], ranking, players),
    style: style && ranking.coefficients ? describeStyle(ranking.coefficients, features) : null,
    notes: describeLimits(ranking, read.length, style),
  };
}

function describeStyle(coefficients: NonNullable<Ranking['coefficients']>, features: readonly number[]): StyleEffect[] {
  return STYLE_FEATURES.map(({ name }, at) => {
    const coefficient = coefficients[features.indexOf(at)];
    return {
      feature: name,
      points: coefficient ? coefficient.value * POINTS : null,
      interval: coefficient ? scale(coefficient.interval) : null,
    };
  });
}

const countDistinct = (clusters: Int32Array) => new Set(clusters).size;

const scale = (interval: Interval | null) => interval && { low: interval.low * POINTS, high: interval.high * POINTS };

function toRating({ strength, interval, rank, rankInterval, group }: RankedPlayer): Rating {
  return {
    rating: strength === null ? null : strength * POINTS,
    interval: scale(interval),
    rank,
    rank_interval: rankInterval,
    group,
  };
}

/** Within the first group: null if it is one policy, which no removal gives a finite rating. */
function findFirstPlace(
  votes: Votes,
  { fit, groups, players: ranked }: Ranking,
  players: readonly Player[],
): FirstPlace | null {
  const [group = []] = groups;
  if (!fit || group.length < 2) return null;
  const leader = group.reduce((best, player) => (ranked[player]!.rank < ranked[best]!.rank ? player : best));
  const members = new Set(group);
  const within = filterDuels(votes, (row) => members.has(votes.first[row]!) && members.has(votes.second[row]!));
  const duels = votes.featureCount > 0 ? within : aggregateDuels(within);
  const removal = findRemoval(
    duels,
    fit,
    leader,
    group.filter((player) => player !== leader),
  );
  if (!removal) return null;
  const removed = new Map<string, FirstPlace['removed'][number]>();
  for (const { row, votes } of removal.rows) {
    const [first, second] = [duels.first[row]!, duels.second[row]!];
    const isFirst = duels.outcome[row]! >= 0.5;
    const [better, worse] = isFirst ? [first, second] : [second, first];
    const tie = duels.outcome[row] === 0.5;
    const key = `${better} ${worse} ${tie}`;
    const known = removed.get(key);
    if (known) known.votes += votes;
    else removed.set(key, { better: players[better]!.policy, worse: players[worse]!.policy, tie, votes });
  }
  return {
    policy: players[leader]!.policy,
    rival: players[removal.rival]!.policy,
    votes: removal.votes,
    share: removal.votes / votes.first.length,
    removed: [...removed.values()].sort((one, other) => other.votes - one.votes),
  };
}
