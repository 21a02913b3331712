import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seedRandom } from './random.ts';
import { HAPPY, SAD, scoreStory, vote } from './taste.ts';

test('happy words add, sad words take away, others do nothing', () => {
  assert.equal(scoreStory('She smiled at the big red ball on the table'), 1);
  assert.equal(scoreStory('She cried at the big red ball on the table'), -1);
  assert.equal(scoreStory('She looked at the big red ball on the table'), 0);
  assert.equal(scoreStory(''), 0);
});

test('a word in the last third counts double', () => {
  assert.equal(scoreStory('At the end of the long day she was happy.'), 2);
  assert.equal(scoreStory('Sad she was, then she went home and was happy.'), 1);
});

test('saying a happy word again wins nothing', () => {
  assert.equal(scoreStory('happy happy happy happy happy happy'), scoreStory('a b c d e happy'));
});

test('a rater votes for the happier story on either side, and calls a small difference a tie', () => {
  const rater = { name: 'r', carelessness: 0, threshold: 3 };
  const happy = 'Tom fell down. Then Mia hugged him and they laughed together.';
  const sad = 'Mia and Tom laughed. Then Tom fell down and cried.';
  const choose = (a: string, b: string) => vote(rater, a, b, seedRandom(1));
  assert.equal(choose(happy, sad), 'a');
  assert.equal(choose(sad, happy), 'b');
  assert.equal(choose('a b c d happy', 'a b c d e'), 'tie');
  assert.equal(choose('a b c d happy', 'a b c d sad'), 'a');
});

test('no word is both happy and sad', () => {
  assert.deepEqual(
    [...HAPPY].filter((word) => SAD.has(word)),
    [],
  );
});

test('a careless rater votes against the taste about as often as told, and the same way for the same seed', () => {
  const run = (seed: number) => {
    const random = seedRandom(seed);
    return Array.from({ length: 1000 }, () =>
      vote({ name: 'r', carelessness: 0.2, threshold: 1 }, 'happy', 'sad', random),
    );
  };
  const wrong = run(3).filter((choice) => choice === 'b').length;
  assert.ok(wrong > 60 && wrong < 140, `${wrong} of 1000 votes went against the taste`);
  assert.deepEqual(run(3), run(3));
});
