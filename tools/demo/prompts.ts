// Prompts in the style of TinyStories: every child's name with every situation. Names in evaluation prompts never occur in
// voting prompts, so the evaluation measures generalisation and not memorised prompts.

import { AttuneError } from '../../shared/error.ts';
import { mulberry32, shuffle } from '../../shared/random.ts';

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

/** One name in this many is reserved for the evaluation. */
const EVALUATION_EVERY_NTH = 4;

export type Prompts = { voting: string[]; evaluation: string[] };

/** Voting and evaluation prompts without a common name, each list shuffled by the seed. */
export function makePrompts(seed: number): Prompts {
  const random = mulberry32(seed);
  const girls = shuffle(GIRLS, random);
  const boys = shuffle(BOYS, random);
  const isEvaluation = (_: string, at: number) => at % EVALUATION_EVERY_NTH === 0;
  const isVoting = (_: string, at: number) => at % EVALUATION_EVERY_NTH !== 0;
  return {
    voting: shuffle(makeOpenings(girls.filter(isVoting), boys.filter(isVoting)), random),
    evaluation: shuffle(makeOpenings(girls.filter(isEvaluation), boys.filter(isEvaluation)), random),
  };
}

/** `count` prompts starting at `from`. Throws AttuneError when the list is too short. */
export function slicePrompts(prompts: string[], from: number, count: number): string[] {
  if (from + count > prompts.length)
    throw new AttuneError(
      `demo: needs ${from + count} prompts, but only ${prompts.length} exist; lower the counts in tools/demo/config.ts`,
    );
  return prompts.slice(from, from + count);
}

/** `count` prompts starting at `from`, from the beginning again where the list ends. */
export function cyclePrompts(prompts: string[], from: number, count: number): string[] {
  return Array.from({ length: count }, (_, at) => prompts[(from + at) % prompts.length]!);
}

function makeOpenings(girls: string[], boys: string[]): string[] {
  return SITUATIONS.flatMap((situation) => [
    ...girls.map(
      (name) => `Once upon a time, there was a little girl named ${name}. ${fillTemplate(situation, 'she', 'her')}`,
    ),
    ...boys.map(
      (name) => `Once upon a time, there was a little boy named ${name}. ${fillTemplate(situation, 'he', 'his')}`,
    ),
  ]);
}

function fillTemplate(situation: string, subject: string, possessive: string): string {
  return situation
    .replaceAll('{she}', subject)
    .replaceAll('{She}', subject[0]!.toUpperCase() + subject.slice(1))
    .replaceAll('{her}', possessive);
}
