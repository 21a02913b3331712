import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mulberry32 } from '../random.ts';
import { rankPlayers, type Votes } from './rank-players.ts';

type Row = { first: number; second: number; outcome: number; rater: number; prompt: number; feature?: number };

function toVotes(players: number, rows: readonly Row[]): Votes {
  const hasFeature = rows[0]?.feature !== undefined;
  return {
    players,
    first: Int32Array.from(rows, ({ first }) => first),
    second: Int32Array.from(rows, ({ second }) => second),
    outcome: Float64Array.from(rows, ({ outcome }) => outcome),
    weight: new Float64Array(rows.length).fill(1),
    features: Float64Array.from(hasFeature ? rows.map(({ feature }) => feature!) : []),
    featureCount: Number(hasFeature),
    rater: Int32Array.from(rows, ({ rater }) => rater),
    prompt: Int32Array.from(rows, ({ prompt }) => prompt),
  };
}

const toShare = (odds: number) => 1 / (1 + Math.exp(-odds));

/** Votes of raters with tastes of their own, on prompts that favor one player or the other. */
function simulate(seed: number, strengths: readonly number[], { raters = 12, prompts = 30, count = 600 } = {}): Row[] {
  const uniform = mulberry32(seed);
  const pick = (size: number) => Math.floor(uniform() * size);
  const tastes = Array.from({ length: raters }, () => strengths.map(() => uniform() - 0.5));
  return Array.from({ length: count }, () => {
    const [rater, prompt, first] = [pick(raters), pick(prompts), pick(strengths.length)];
    const second = (first + 1 + pick(strengths.length - 1)) % strengths.length;
    const odds = strengths[first]! + tastes[rater]![first]! - strengths[second]! - tastes[rater]![second]!;
    return { first, second, outcome: Number(uniform() < toShare(odds)), rater, prompt };
  });
}

test('intervals contain the true strengths about 95 times in 100, though each rater has a taste', () => {
  const strengths = [0, 0.5, 1];
  let covered = 0;
  let total = 0;
  for (let seed = 0; seed < 150; seed++) {
    const { players, clusteredBy } = rankPlayers(toVotes(3, simulate(seed, strengths, { raters: 20, count: 400 })));
    assert.deepEqual(clusteredBy, ['rater', 'prompt']);
    for (const player of [1, 2]) {
      const { low, high } = players[player]!.interval!;
      total++;
      if (low <= strengths[player]! && strengths[player]! <= high) covered++;
    }
  }
  assert.ok(covered / total > 0.9 && covered / total < 0.99, `${covered} of ${total}`);
});

test('the first player is at 0 without an interval, and ranks that cannot be told apart overlap', () => {
  const { players } = rankPlayers(toVotes(3, simulate(1, [0, 0.02, 3])));
  assert.deepEqual([players[0]!.strength, players[0]!.interval], [0, null]);
  assert.deepEqual(players[2]!.rankInterval, { best: 1, worst: 1 });
  assert.equal(players[2]!.rank, 1);
  for (const player of [0, 1]) assert.deepEqual(players[player]!.rankInterval, { best: 2, worst: 3 });
});

test('too few raters are no clusters; too few of both give no interval', () => {
  const few = rankPlayers(toVotes(3, simulate(1, [0, 1, 2], { raters: 5 })));
  assert.deepEqual(few.clusteredBy, ['prompt']);
  assert.ok(few.players[1]!.interval);
  const none = rankPlayers(toVotes(3, simulate(1, [0, 1, 2], { raters: 5, prompts: 5 })));
  assert.deepEqual(none.clusteredBy, []);
  assert.deepEqual([none.players[1]!.interval, none.players[1]!.rankInterval], [null, null]);
  assert.ok(none.players[1]!.strength! > 0);
});

test('a player who never lost is a group of its own, first by rank and without a certain one', () => {
  const rows = simulate(2, [0, 1]).map((row) => ({ ...row }));
  for (const [at, row] of rows.entries())
    if (at % 10 === 0) Object.assign(row, { first: 2, second: at % 2, outcome: 1 });
  const { players, groups } = rankPlayers(toVotes(3, rows));
  assert.deepEqual(groups, [[2], [0, 1]]);
  assert.deepEqual(
    players.map(({ rank, group }) => [rank, group]),
    [
      [3, 1],
      [2, 1],
      [1, 0],
    ],
  );
  assert.deepEqual([players[2]!.strength, players[2]!.interval], [0, null]);
  assert.deepEqual(players[2]!.rankInterval, { best: 1, worst: 3 });
  assert.deepEqual(players[1]!.rankInterval, { best: 1, worst: 2 });
});

test('a covariate that raters like is taken out of the strengths', () => {
  const uniform = mulberry32(5);
  const rows = simulate(4, [0, 0], { count: 3000 }).map((row) => {
    // Player 1 is no better, and has more of what raters like.
    const feature = (row.first === 1 ? 1 : -1) * (0.3 + uniform());
    return { ...row, feature, outcome: Number(uniform() < toShare(feature)) };
  });
  const { players, coefficients } = rankPlayers(toVotes(2, rows));
  const plain = rankPlayers(
    toVotes(
      2,
      rows.map(({ feature: _, ...row }) => row),
    ),
  );
  assert.ok(plain.players[1]!.strength! > 0.5);
  const { low, high } = players[1]!.interval!;
  assert.ok(low < 0 && high > 0, `${low} ${high}`);
  assert.ok(coefficients![0]!.interval!.low < 1 && coefficients![0]!.interval!.high > 1);
});

test('a covariate that tells every winner leaves no strengths', () => {
  const rows = simulate(6, [0, 0]).map((row) => ({ ...row, feature: 2 * row.outcome - 1 }));
  const { fit, coefficients, players } = rankPlayers(toVotes(2, rows));
  assert.deepEqual([fit, coefficients, players[1]!.strength, players[1]!.interval], [null, null, null, null]);
});
