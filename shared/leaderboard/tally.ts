// Votes between policies as numbers: policies by their index, wins and losses counted by policy and by pair.

import { inArray } from 'drizzle-orm';
import type { Database } from '../database/connect.ts';
import { policies } from '../database/schema.ts';
import { numberClusters } from '../statistics/cluster-covariance.ts';
import { filterDuels } from '../statistics/duels.ts';
import type { Votes } from '../statistics/rank-players.ts';
import type { PolicyVote } from './read-votes.ts';
import { compareStyles, scaleStyles } from './style.ts';

/** Ties and both_bad: the rater prefers neither. */
export type Score = { wins: number; losses: number; ties: number; both_bad: number };

export type Player = { policy: string; name: string | null };

export type Ties = 'half' | 'dropped';

/** What completions.policy_id is of a response that no policy generated. */
const GIVEN = 'given';

/** The root of a line first, then the oldest: their strength is 0. Given responses last. */
export async function findPlayers(db: Database, ids: readonly string[]): Promise<Player[]> {
  const rows =
    ids.length === 0
      ? []
      : await db
          .select({
            id: policies.id,
            name: policies.name,
            reference: policies.reference_id,
            created: policies.created_at,
          })
          .from(policies)
          .where(inArray(policies.id, [...ids]));
  const known = new Map(rows.map((row) => [row.id, row]));
  const toRank = (id: string) => (id === GIVEN ? 3 : known.get(id)?.reference === null ? 0 : known.has(id) ? 1 : 2);
  return ids
    .toSorted(
      (one, other) =>
        toRank(one) - toRank(other) ||
        (known.get(one)?.created.getTime() ?? 0) - (known.get(other)?.created.getTime() ?? 0) ||
        (one < other ? -1 : 1),
    )
    .map((policy) => ({ policy, name: known.get(policy)?.name ?? null }));
}

/** A tie is half a win of each. `features`: the indices of the style features that are its covariates. */
export function toDuels(
  votes: readonly PolicyVote[],
  players: readonly Player[],
): { votes: Votes; features: number[] } {
  const indices = new Map(players.map(({ policy }, at) => [policy, at]));
  const withStyle = votes.some(({ style }) => style[0].length > 0);
  const { kept, features } = withStyle
    ? scaleStyles(votes.map(({ style }) => compareStyles(style)))
    : { kept: [], features: new Float64Array(0) };
  return {
    features: kept,
    votes: {
      players: players.length,
      first: Int32Array.from(votes, ({ a }) => indices.get(a)!),
      second: Int32Array.from(votes, ({ b }) => indices.get(b)!),
      outcome: Float64Array.from(votes, ({ choice }) => (choice === 'a' ? 1 : choice === 'b' ? 0 : 0.5)),
      weight: new Float64Array(votes.length).fill(1),
      features,
      featureCount: kept.length,
      rater: numberClusters(votes.map(({ rater }) => rater)).indices,
      prompt: numberClusters(votes.map(({ prompt }) => prompt)).indices,
    },
  };
}

export function dropTies(votes: Votes): Votes {
  const isStrict = (row: number) => votes.outcome[row] !== 0.5;
  return {
    ...filterDuels(votes, isStrict),
    rater: votes.rater.filter((_, row) => isStrict(row)),
    prompt: votes.prompt.filter((_, row) => isStrict(row)),
  };
}

/** Of each pair of players that met: the score of the one before the other in the list. */
export function scorePairs(votes: readonly PolicyVote[], players: readonly Player[]) {
  const indices = new Map(players.map(({ policy }, at) => [policy, at]));
  const pairs = new Map<string, { one: number; other: number; score: Score }>();
  for (const { a, b, choice } of votes) {
    const [atA, atB] = [indices.get(a)!, indices.get(b)!];
    const [one, other] = atA < atB ? [atA, atB] : [atB, atA];
    const key = `${one} ${other}`;
    const pair = pairs.get(key) ?? { one, other, score: { wins: 0, losses: 0, ties: 0, both_bad: 0 } };
    pairs.set(key, pair);
    if (choice === 'tie') pair.score.ties++;
    else if (choice === 'both_bad') pair.score.both_bad++;
    else if ((choice === 'a') === atA < atB) pair.score.wins++;
    else pair.score.losses++;
  }
  return [...pairs.values()].sort((x, y) => x.one - y.one || x.other - y.other);
}

/** From the other side of a pair. */
export const turn = ({ wins, losses, ...neither }: Score): Score => ({ ...neither, wins: losses, losses: wins });

export function addScores(scores: readonly Score[]): Score {
  const add = (field: keyof Score) => scores.reduce((sum, score) => sum + score[field], 0);
  return { wins: add('wins'), losses: add('losses'), ties: add('ties'), both_bad: add('both_bad') };
}

/** A tie as half a win. */
export function toWinRate({ wins, losses, ties, both_bad }: Score): number {
  return (wins + (ties + both_bad) / 2) / (wins + losses + ties + both_bad);
}
