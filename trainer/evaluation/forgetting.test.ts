import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Evaluation } from './evaluation.ts';
import { compareByRound } from './forgetting.ts';

/** Pairs with these margins; the log-probability of each chosen response is its log-ratio. */
function evaluate(margins: number[], prompts = margins.map((_, at) => `prompt ${at}`)): Evaluation {
  const outcomes = margins.map((margin) => ({
    loss: -margin,
    chosenLogRatio: margin / 2,
    rejectedLogRatio: -margin / 2,
    chosenLogp: margin / 2,
    rejectedLogp: 0,
  }));
  return { metrics: {}, intervals: {}, logps: { chosen: [], rejected: [] }, outcomes, prompts };
}
const repeat = <T>(count: number, make: (at: number) => T) => Array.from({ length: count }, (_, at) => make(at));

test('each earlier round has the statistics of its own pairs before and after, and new pairs are in none', () => {
  const learnedIn = ['round_b', null, 'round_a', 'round_b'];
  const groups = compareByRound(evaluate([1, 9, 2, -1]), evaluate([3, 9, 2, 1]), learnedIn);
  assert.deepEqual(
    groups.map(({ round, pairs, prompts }) => [round, pairs, prompts]),
    [
      ['round_a', 1, 1],
      ['round_b', 2, 2],
    ],
  );
  assert.deepEqual(groups[1]!.before, { 'rewards/margins': 0, 'rewards/accuracies': 0.5, 'logps/chosen': 0 });
  assert.deepEqual(groups[1]!.after, { 'rewards/margins': 2, 'rewards/accuracies': 1, 'logps/chosen': 1 });
  assert.equal(groups[1]!.margin_change.value, 2);
  assert.deepEqual([groups[1]!.margin_change.interval, groups[1]!.forgotten], [null, false]);
});

test('where the policy before is the reference, every pair is a tie, and counts half', () => {
  const [group] = compareByRound(evaluate([0, 0, 0]), evaluate([1, 1, -1]), ['round_a', 'round_a', 'round_a']);
  assert.equal(group!.before['rewards/accuracies'], 0.5);
  assert.equal(group!.after['rewards/accuracies'], 2 / 3);
});

test('a round whose margin fell significantly is forgotten; one that rose, or fell by chance, is not', () => {
  const learnedIn = [...repeat(20, () => 'fell'), ...repeat(20, () => 'rose'), ...repeat(20, () => 'varied')];
  const before = repeat(60, (at) => Math.sin(at));
  const after = before.map((margin, at) => {
    const noise = Math.sin(7 * at);
    return margin + (at < 20 ? -1 + noise / 2 : at < 40 ? 1 + noise / 2 : 3 * noise - 0.1);
  });
  const forgotten = compareByRound(evaluate(before), evaluate(after), learnedIn)
    .filter((group) => group.forgotten)
    .map(({ round }) => round);
  assert.deepEqual(forgotten, ['fell']);
});

test('many votes on few prompts are not evidence of forgetting', () => {
  const prompts = repeat(60, (at) => `prompt ${at % 5}`);
  const [group] = compareByRound(
    evaluate(
      repeat(60, () => 1),
      prompts,
    ),
    evaluate(
      repeat(60, () => -1),
      prompts,
    ),
    repeat(60, () => 'round_a'),
  );
  assert.deepEqual([group!.pairs, group!.prompts, group!.forgotten], [60, 5, false]);
});
