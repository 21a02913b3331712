import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mulberry32 } from '../../shared/random.ts';
import { chooseText, NEGATIVE_WORDS, POSITIVE_WORDS, scoreText } from './raters.ts';

test('positive words add, negative words subtract, other words do not count', () => {
  assert.equal(scoreText('She smiled at the big red ball on the table'), 1);
  assert.equal(scoreText('She cried at the big red ball on the table'), -1);
  assert.equal(scoreText('She looked at the big red ball on the table'), 0);
  assert.equal(scoreText(''), 0);
});

test('a word in the last third counts double', () => {
  assert.equal(scoreText('At the end of the long day she was happy.'), 2);
  assert.equal(scoreText('Sad she was, then she went home and was happy.'), 1);
});

test('repeating a positive word does not raise the score', () => {
  assert.equal(scoreText('happy happy happy happy happy happy'), scoreText('a b c d e happy'));
});

test('a rater chooses the higher score on either side and votes a tie below the threshold', () => {
  const rater = { name: 'r', errorRate: 0, tieThreshold: 3 };
  const happy = 'Tom fell down. Then Mia hugged him and they laughed together.';
  const sad = 'Mia and Tom laughed. Then Tom fell down and cried.';
  const choose = (a: string, b: string) => chooseText(rater, a, b, mulberry32(1));
  assert.equal(choose(happy, sad), 'a');
  assert.equal(choose(sad, happy), 'b');
  assert.equal(choose('a b c d happy', 'a b c d e'), 'tie');
  assert.equal(choose('a b c d happy', 'a b c d sad'), 'a');
});

test('no word is both positive and negative', () => {
  assert.deepEqual(
    [...POSITIVE_WORDS].filter((word) => NEGATIVE_WORDS.has(word)),
    [],
  );
});

test('a rater with an error rate votes wrongly at half that rate, reproducibly for a seed', () => {
  const run = (seed: number) => {
    const random = mulberry32(seed);
    return Array.from({ length: 1000 }, () =>
      chooseText({ name: 'r', errorRate: 0.2, tieThreshold: 1 }, 'happy', 'sad', random),
    );
  };
  const wrong = run(3).filter((choice) => choice === 'b').length;
  assert.ok(wrong > 60 && wrong < 140, `${wrong} of 1000 votes were wrong`);
  assert.deepEqual(run(3), run(3));
});
