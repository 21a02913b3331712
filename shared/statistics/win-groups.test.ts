import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Duels } from './duels.ts';
import { groupByWins, listWins, reaches } from './win-groups.ts';

function toDuels(players: number, rows: readonly (readonly [number, number, number])[]): Duels {
  return {
    players,
    first: Int32Array.from(rows, ([first]) => first),
    second: Int32Array.from(rows, ([, second]) => second),
    outcome: Float64Array.from(rows, ([, , outcome]) => outcome),
    weight: new Float64Array(rows.length).fill(1),
    features: new Float64Array(0),
    featureCount: 0,
  };
}

const group = (players: number, rows: readonly (readonly [number, number, number])[]) =>
  groupByWins(listWins(toDuels(players, rows)));

test('players who win against each other are one group, in a circle too', () => {
  assert.deepEqual(
    group(3, [
      [0, 1, 1],
      [1, 2, 1],
      [2, 0, 1],
    ]),
    [[0, 1, 2]],
  );
  assert.deepEqual(group(2, [[0, 1, 0.5]]), [[0, 1]]);
});

test('whoever never loses is above the others, and whoever never wins below', () => {
  const rows = [
    [0, 1, 1],
    [1, 2, 1],
    [2, 1, 1],
    [2, 3, 1],
  ] as const;
  assert.deepEqual(group(4, rows), [[0], [1, 2], [3]]);
});

test('players without votes are groups of their own, and reach nobody', () => {
  const wins = listWins(
    toDuels(4, [
      [2, 1, 1],
      [1, 0, 1],
    ]),
  );
  assert.equal(groupByWins(wins).length, 4);
  assert.ok(reaches(wins, 2, 0) && !reaches(wins, 0, 2) && !reaches(wins, 3, 0));
});
