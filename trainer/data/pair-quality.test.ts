import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assessPairs, findFlaws, type QualitySettings, type Vote, weighPair } from './pair-quality.ts';

const KEEP: QualitySettings = { max_similarity: 1, contradictions: 'keep', min_agreement: 0 };
const A = [11, 12, 13];
const B = [21, 22, 23];

function vote(chosen: number[], rejected: number[], rater = 'r1', promptIds = [1, 2]): Vote {
  return { chosen: { promptIds, responseIds: chosen }, rejected: { promptIds, responseIds: rejected }, rater };
}
const assess = (votes: Vote[], settings: Partial<QualitySettings> = {}) => {
  const all = { ...KEEP, ...settings };
  const qualities = assessPairs(votes, all);
  return { flaws: qualities.map(findFlaws), weights: qualities.map((quality) => weighPair(quality, all)) };
};

test('pairs without a second vote and with different sides have no flaw and weight 1', () => {
  const { flaws, weights } = assess([vote(A, B), vote(A, B, 'r1', [1, 3])], { contradictions: 'drop' });
  assert.deepEqual(flaws, [[], []]);
  assert.deepEqual(weights, [1, 1]);
});

test('nearly identical sides are reported from a similarity of 0.9, and left out above max_similarity', () => {
  const long = Array.from({ length: 20 }, (_, i) => i);
  const votes = [vote(long, long.with(3, 99)), vote(A, A.with(0, 99))];
  assert.deepEqual(assess(votes).flaws, [['near_identical'], []]);
  assert.deepEqual(assess(votes).weights, [1, 1]);
  assert.deepEqual(assess(votes, { max_similarity: 0.9 }).weights, ['near_identical', 1]);
  assert.deepEqual(assess(votes, { max_similarity: 0.5 }).weights, ['near_identical', 'near_identical']);
});

test('votes that chose both ways contradict each other, of one rater as well', () => {
  const votes = [vote(A, B), vote(B, A), vote(A, B, 'r1', [9])];
  assert.deepEqual(assess(votes).flaws, [['contradictory'], ['contradictory'], []]);
  assert.deepEqual(assess(votes).weights, [1, 1, 1]);
  assert.deepEqual(assess(votes, { contradictions: 'drop' }).weights, ['contradictory', 'contradictory', 1]);
  assert.deepEqual(assess(votes, { contradictions: 'weigh' }).weights, ['contradictory', 'contradictory', 1]);
});

test('with contradictions=weigh each vote cancels one for the other side', () => {
  const votes = [vote(A, B, 'r1'), vote(A, B, 'r2'), vote(A, B, 'r3'), vote(B, A, 'r4')];
  const { weights } = assess(votes, { contradictions: 'weigh' });
  assert.deepEqual(weights, [2 / 3, 2 / 3, 2 / 3, 'contradictory']);
  const sum = weights.reduce<number>((total, weight) => total + (typeof weight === 'number' ? weight : 0), 0);
  assert.ok(Math.abs(sum - 2) < 1e-12);
});

test('two of three raters are low agreement, three of four are not, and one rater alone is neither', () => {
  const threeVotes = [vote(A, B, 'r1'), vote(A, B, 'r2'), vote(B, A, 'r3')];
  assert.ok(assess(threeVotes).flaws.every((flaws) => flaws.includes('low_agreement')));
  assert.deepEqual(assess(threeVotes, { min_agreement: 0.7 }).weights, Array(3).fill('low_agreement'));
  assert.deepEqual(assess(threeVotes, { min_agreement: 0.6 }).weights, [1, 1, 1]);
  assert.ok(assess([...threeVotes, vote(A, B, 'r4')]).flaws.every((flaws) => !flaws.includes('low_agreement')));
  const alone = [vote(A, B), vote(B, A)];
  assert.deepEqual(assess(alone, { min_agreement: 1 }).weights, [1, 1]);
});
