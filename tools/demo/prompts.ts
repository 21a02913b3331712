// Openings of stories: every child with every situation. The children of the evaluation prompts never appear in a
// prompt that is voted on, so what is measured there is the taste, not the memory of a prompt.

import { AttuneError } from '../../shared/error.ts';
import { seedRandom, shuffle } from './random.ts';

const GIRLS =
  `Lily Mia Anna Sue Jane Emma Lucy Amy Sara Kate Ella Rose Daisy Molly Zoe Grace Ruby Nina Bella Clara Ivy Maya
  Polly Tina Hana Leila Alice Betty Cathy Dora Eva Gina Helen Julie Linda Mary Nora Rita Susie Wendy`.split(/\s+/);
const BOYS = `Tim Tom Ben Max Sam Jack Bob Leo Billy Joe Peter Mark Dan Fred Nick John Luke Oscar Toby Adam Alex Charlie
  Henry Omar Kai Ravi Andy Bill Carl Dave Eddie Frank George Harry Jim Kevin Mike Paul Roy Will`.split(/\s+/);

const SITUATIONS = [
  'One day, {she} went to the park with {her} mom.',
  '{She} lived in a small house near the sea.',
  '{She} found a strange box in the garden.',
  '{She} had a little dog who liked to run.',
  'One morning, it was raining and {she} had to stay inside.',
  '{She} wanted to climb the tallest tree in the forest.',
  'One day, {she} could not find {her} red ball.',
  '{She} met a big bear on the way home.',
  '{She} was making a cake with {her} grandma.',
  'One night, {she} heard a noise outside the window.',
  '{She} got a new toy for {her} birthday.',
  'One day, {she} saw a bird that could not fly.',
  '{She} went on a trip to the mountains with {her} dad.',
  '{She} had to go to a new school.',
  'One day, {she} wanted to play with {her} brother.',
  '{She} was walking in the snow.',
  '{She} saw a cat sitting in a tree.',
  'One day, {she} went to the store to buy some milk.',
  '{She} built a boat out of paper.',
  '{She} did not want to go to bed.',
  'One day, {she} took a long walk to the river.',
  '{She} wanted to learn how to ride a bike.',
  '{She} was at the beach with a bucket and a spade.',
  'One day, {she} saw a boy with a kite.',
  '{She} planted a seed and waited for it to grow.',
  "One day, {she} broke {her} mom's favorite cup.",
  '{She} wanted to catch a frog near the pond.',
  'One day, {she} visited a farm with many animals.',
  '{She} was afraid of the dark.',
  'One day, an old man came to {her} door.',
];

/** One child in this many is kept for the evaluation. */
const EVALUATION_SHARE = 4;

export type Prompts = { voting: string[]; evaluation: string[] };

/** Prompts for voting and for evaluation, each in an order that the seed gives, without a child in common. */
export function writePrompts(seed: number): Prompts {
  const random = seedRandom(seed);
  const girls = shuffle(GIRLS, random);
  const boys = shuffle(BOYS, random);
  const isKept = (_: string, at: number) => at % EVALUATION_SHARE === 0;
  const isVoted = (_: string, at: number) => at % EVALUATION_SHARE !== 0;
  return {
    voting: shuffle(openings(girls.filter(isVoted), boys.filter(isVoted)), random),
    evaluation: shuffle(openings(girls.filter(isKept), boys.filter(isKept)), random),
  };
}

/** The first `count` of a list that must have them. */
export function takePrompts(prompts: string[], from: number, count: number): string[] {
  if (from + count > prompts.length)
    throw new AttuneError(`demo: ${from + count} prompts are asked for and there are ${prompts.length}; ask for fewer`);
  return prompts.slice(from, from + count);
}

function openings(girls: string[], boys: string[]): string[] {
  return SITUATIONS.flatMap((situation) => [
    ...girls.map((name) => `Once upon a time, there was a little girl named ${name}. ${say(situation, 'she', 'her')}`),
    ...boys.map((name) => `Once upon a time, there was a little boy named ${name}. ${say(situation, 'he', 'his')}`),
  ]);
}

function say(situation: string, subject: string, possessive: string): string {
  return situation
    .replaceAll('{she}', subject)
    .replaceAll('{She}', subject[0]!.toUpperCase() + subject.slice(1))
    .replaceAll('{her}', possessive);
}
