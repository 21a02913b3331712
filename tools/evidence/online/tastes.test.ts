import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mulberry32 } from '../../../shared/random.ts';
import { standardizeTaste, TASTES, vote } from './tastes.ts';

test('each taste prefers the text that it is named after', () => {
  assert.ok(TASTES.happy('They smiled and laughed.') > TASTES.happy('They cried and were scared.'));
  assert.ok(TASTES.dialogue('"Come here," said Ann. "Now!"') > TASTES.dialogue('Ann said that he should come.'));
  assert.equal(TASTES.dialogue('Nobody spoke.'), 0);
  assert.ok(TASTES.simple('He ran. She ran.') > TASTES.simple('Notwithstanding difficulties, everybody persevered.'));
  assert.ok(TASTES.long('a longer text') > TASTES.long('a text'));
});

test('a taste has mean 0 and standard deviation 1 over the texts that it is standardized on', () => {
  const texts = ['a', 'bb', 'cccc', 'ddddddd'];
  const { utility } = standardizeTaste('long', texts);
  const values = texts.map(utility);
  const sum = (numbers: number[]) => numbers.reduce((total, value) => total + value, 0);
  assert.ok(Math.abs(sum(values)) < 1e-12);
  assert.ok(Math.abs(sum(values.map((value) => value ** 2)) / texts.length - 1) < 1e-12);
});

test('votes follow the taste, a coin, or its opposite, and equal utilities are a tie', () => {
  const random = mulberry32(1);
  const shareOfA = (votes: Parameters<typeof vote>[2]) =>
    Array.from({ length: 4000 }, () => vote(1, 0, votes, random)).filter((choice) => choice === 'a').length / 4000;
  // σ(2) = 0.881; the standard error is at most 0.008.
  assert.ok(Math.abs(shareOfA('taste') - 0.881) < 0.03);
  assert.ok(Math.abs(shareOfA('random') - 0.5) < 0.03);
  assert.ok(Math.abs(shareOfA('inverted') - 0.119) < 0.03);
  assert.equal(vote(1, 1, 'taste', random), null);
});
