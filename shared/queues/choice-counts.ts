// How many raters gave each choice to an item.

import type { GivenChoice, GivenVote } from './given-votes.ts';

export type ChoiceCounts = Record<GivenChoice, number>;

export const CHOICES: readonly GivenChoice[] = ['a', 'b', 'tie', 'both_bad'];

export function countByItem(votes: readonly GivenVote[]): Map<string, ChoiceCounts> {
  const counts = new Map<string, ChoiceCounts>();
  for (const { item, choice } of votes) {
    const ofItem = counts.get(item) ?? { a: 0, b: 0, tie: 0, both_bad: 0 };
    ofItem[choice]++;
    counts.set(item, ofItem);
  }
  return counts;
}

export function addCounts(all: readonly ChoiceCounts[]): ChoiceCounts {
  const add = (choice: GivenChoice) => all.reduce((total, counts) => total + counts[choice], 0);
  return { a: add('a'), b: add('b'), tie: add('tie'), both_bad: add('both_bad') };
}

export function sumCounts(counts: ChoiceCounts): number {
  return counts.a + counts.b + counts.tie + counts.both_bad;
}

/** Share of the votes that the choice with the most has. */
export function toMajority(counts: ChoiceCounts): number {
  return Math.max(...Object.values(counts)) / sumCounts(counts);
}
