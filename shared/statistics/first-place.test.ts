import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mulberry32 } from '../random.ts';
import { fitBradleyTerry } from './bradley-terry.ts';
import { aggregateDuels, type Duels } from './duels.ts';
import { findRemoval } from './first-place.ts';
import { groupByWins, listWins } from './win-groups.ts';

/** Wins, losses and ties of each pair. */
type Counts = [first: number, second: number, wins: number, losses: number, ties: number];

function toDuels(players: number, counts: readonly Counts[]): Duels {
  const rows = counts.flatMap(([first, second, wins, losses, ties]) =>
    [wins, losses, ties].map((weight, at) => ({ first, second, outcome: [1, 0, 0.5][at]!, weight })),
  );
  return {
    players,
    first: Int32Array.from(rows, ({ first }) => first),
    second: Int32Array.from(rows, ({ second }) => second),
    outcome: Float64Array.from(rows, ({ outcome }) => outcome),
    weight: Float64Array.from(rows, ({ weight }) => weight),
    features: new Float64Array(0),
    featureCount: 0,
  };
}

const findLeader = (parameters: Float64Array, players: number) => {
  const strengths = [...parameters.subarray(0, players)];
  return strengths.indexOf(Math.max(...strengths));
};

/** Of every way to remove votes, the fewest after which the leader is not first; each is fitted. */
function searchAll(duels: Duels, leader: number): number {
  let best = Number.POSITIVE_INFINITY;
  const weight = Float64Array.from(duels.weight);
  const search = (row: number, removed: number): void => {
    if (removed >= best) return;
    if (row === weight.length) {
      const left = { ...duels, weight };
      const groups = groupByWins(listWins(left));
      if (groups.length > 1) return;
      const fit = fitBradleyTerry(left, [0])!;
      if (findLeader(fit.parameters, duels.players) !== leader) best = removed;
      return;
    }
    const full = weight[row]!;
    for (let votes = 0; votes <= full; votes++) {
      weight[row] = full - votes;
      search(row + 1, removed + votes);
    }
    weight[row] = full;
  };
  search(0, 0);
  return best;
}

test('between two players the number is the one that counting gives', () => {
  const duels = toDuels(2, [[0, 1, 60, 45, 8]]);
  const fit = fitBradleyTerry(duels, [0])!;
  const { rival, votes, rows } = findRemoval(duels, fit, 0, [1])!;
  assert.deepEqual([rival, votes, rows], [1, 16, [{ row: 0, votes: 16 }]]);
});

test('the number is that of trying every removal, for small samples of votes', () => {
  const uniform = mulberry32(16);
  const draw = (most: number) => 1 + Math.floor(uniform() * most);
  let compared = 0;
  let exact = 0;
  for (let trial = 0; trial < 30; trial++) {
    const counts = (
      [
        [0, 1],
        [0, 2],
        [1, 2],
      ] as const
    ).map(([one, other]): Counts => [one, other, draw(5), draw(4), draw(2)]);
    const duels = toDuels(3, counts);
    const fit = fitBradleyTerry(duels, [0])!;
    const leader = findLeader(fit.parameters, 3);
    const found = findRemoval(
      duels,
      fit,
      leader,
      [0, 1, 2].filter((player) => player !== leader),
    );
    const fewest = searchAll(duels, leader);
    if (!found || fewest === Number.POSITIVE_INFINITY) continue;
    compared++;
    // A removal after which one side has no win is not among those tried here.
    if (found.votes <= fewest) exact++;
    assert.ok(found.votes <= fewest + 1, `${found.votes} and not ${fewest}: ${JSON.stringify(counts)}`);
  }
  assert.ok(compared >= 20 && exact >= 0.9 * compared, `${exact} of ${compared}`);
});

test('the removal of many votes among many players is found and verified', () => {
  const uniform = mulberry32(3);
  const strengths = Array.from({ length: 12 }, (_, player) => player / 10);
  const counts = strengths.flatMap((_, one) =>
    strengths.slice(one + 1).map((_, at): Counts => {
      const other = one + 1 + at;
      const wins = Math.round(300 / (1 + Math.exp(strengths[other]! - strengths[one]!)) + 20 * uniform());
      return [one, other, wins, 320 - wins, 40];
    }),
  );
  const duels = toDuels(12, counts);
  const fit = fitBradleyTerry(duels, [0])!;
  const leader = findLeader(fit.parameters, 12);
  const { rows, rival, votes } = findRemoval(
    duels,
    fit,
    leader,
    [...strengths.keys()].filter((at) => at !== leader),
  )!;
  const refit = (count: number) => {
    const weight = Float64Array.from(duels.weight);
    let left = count;
    for (const removed of rows) {
      weight[removed.row]! -= Math.min(left, removed.votes);
      left -= Math.min(left, removed.votes);
    }
    return fitBradleyTerry({ ...duels, weight }, [0])!.parameters;
  };
  assert.equal(
    rows.reduce((sum, removed) => sum + removed.votes, 0),
    votes,
  );
  assert.ok(refit(votes)[rival]! > refit(votes)[leader]!);
  assert.ok(refit(votes - 1)[rival]! < refit(votes - 1)[leader]! + 1e-9);
});

test('rows of single votes give the same number as counts', () => {
  const counts = toDuels(3, [
    [0, 1, 30, 22, 6],
    [0, 2, 28, 25, 0],
    [1, 2, 20, 24, 5],
  ]);
  const rows = [...counts.weight.keys()].flatMap((row) => Array(counts.weight[row]!).fill(row) as number[]);
  const single: Duels = {
    ...counts,
    first: Int32Array.from(rows, (row) => counts.first[row]!),
    second: Int32Array.from(rows, (row) => counts.second[row]!),
    outcome: Float64Array.from(rows, (row) => counts.outcome[row]!),
    weight: new Float64Array(rows.length).fill(1),
  };
  const find = (duels: Duels) => findRemoval(duels, fitBradleyTerry(duels, [0])!, 0, [1, 2])!;
  assert.equal(find(single).votes, find(aggregateDuels(single)).votes);
});
