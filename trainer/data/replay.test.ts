import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sampleReplay, spreadEvenly, thinOut } from './replay.ts';

/** Rounds of these sizes; an item is [round, position]. */
const makeRounds = (...sizes: number[]) =>
  sizes.map((size, round) => Array.from({ length: size }, (_, at) => [round, at] as const));
const countByRound = (items: (readonly [number, number])[], rounds: number) =>
  Array.from({ length: rounds }, (_, round) => items.filter((item) => item[0] === round).length);

test('a replay is a sample of all rounds in proportion to their size, without repetition', () => {
  const rounds = makeRounds(100, 300, 0, 600);
  const totals = [0, 0, 0, 0];
  for (let seed = 0; seed < 200; seed++) {
    const sample = sampleReplay(rounds, 50, seed);
    assert.equal(new Set(sample).size, 50);
    for (const [round, count] of countByRound(sample, 4).entries()) totals[round]! += count;
  }
  // 10,000 draws; six standard deviations are 300.
  for (const [round, expected] of [1000, 3000, 0, 6000].entries())
    assert.ok(Math.abs(totals[round]! - expected) < 300, `${totals}`);
});

test('the same seed gives the same replay, another seed another one, and too few pairs are all replayed', () => {
  const rounds = makeRounds(40, 40);
  assert.deepEqual(sampleReplay(rounds, 20, 1), sampleReplay(rounds, 20, 1));
  assert.notDeepEqual(sampleReplay(rounds, 20, 1), sampleReplay(rounds, 20, 2));
  assert.deepEqual(sampleReplay(rounds, 100, 1), rounds.flat());
  assert.deepEqual(sampleReplay(rounds, 0, 1), []);
});

test('of many rounds at most 16 are followed, among them the first and the newest, and few change from round to round', () => {
  let before: number[] = [];
  for (let count = 1; count <= 1000; count++) {
    const rounds = Array.from({ length: count }, (_, at) => at);
    const kept = thinOut(rounds);
    assert.ok(kept.length <= 16 && kept.length >= Math.min(count, 8), `${count}: ${kept.length}`);
    assert.deepEqual([kept[0], kept.at(-1)], [0, count - 1]);
    const lost = before.filter((round) => !kept.includes(round));
    const isHalved = [17, 31, 61, 121, 241, 481, 961].includes(count);
    assert.ok(lost.length <= 1 || isHalved, `${count} lost ${lost}`);
    assert.deepEqual(thinOut(kept), kept);
    before = kept;
  }
});

test('held-out pairs are spread evenly over rounds, and a small round leaves its share to the others', () => {
  const rounds = makeRounds(100, 3, 100);
  const spread = spreadEvenly(rounds, 43);
  assert.deepEqual(countByRound(spread, 3), [20, 3, 20]);
  assert.deepEqual(spreadEvenly(rounds, 9), spread.slice(0, 9));
  assert.deepEqual(countByRound(spread.slice(0, 9), 3), [3, 3, 3]);
  assert.equal(spreadEvenly(rounds, 1000).length, 203);
  assert.deepEqual(spreadEvenly([], 10), []);
});
