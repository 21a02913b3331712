import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judgeStories } from './contest.ts';

test('wins, ties and losses are counted prompt by prompt, and a tie is half a win', () => {
  const contest = judgeStories(['happy', 'sad', 'cat', 'glad'], ['sad', 'happy', 'dog', 'cat']);
  assert.deepEqual([contest.wins, contest.ties, contest.losses], [2, 1, 1]);
  assert.equal(contest.rate, 0.625);
  assert.equal(contest.score, 0.25);
  assert.ok(contest.low < contest.rate && contest.rate < contest.high);
});

test('a policy against its own texts is at even odds', () => {
  const texts = ['happy', 'sad', 'cat'];
  assert.equal(judgeStories(texts, texts).rate, 0.5);
});
