// Which learned pairs a round sees again: a replay among its training pairs, so that it does not unlearn earlier rounds,
// and held-out pairs of earlier rounds, which show whether it does.
//
// The replay is a uniform sample of everything learned, as in experience replay with a reservoir (Chaudhry et al. 2019,
// arXiv 1902.10486). The newest pairs alone would come from the last round or two, which the policy was just trained on,
// and nothing would hold what the rounds before them taught.

import { shuffledIndices } from '../../shared/random.ts';
import { MAX_HELD_OUT } from '../evaluation/gate-power.ts';

/** More groups would be too small to show anything. */
const MAX_ROUNDS = 16;

/** Held-out pairs of earlier rounds. Otherwise there are no more of them than training pairs, so that they cost less than the training. */
const MIN_EARLIER_HELD_OUT = 128;

/** How many held-out pairs of earlier rounds are evaluated beside the new ones. */
export function limitEarlier(train: number, heldOut: number): number {
  return Math.max(0, Math.min(Math.max(MIN_EARLIER_HELD_OUT, train), MAX_HELD_OUT - heldOut));
}

/** `count` of all items of the rounds, each as likely as any other, in the order of the rounds. */
export function sampleReplay<Item>(rounds: readonly (readonly Item[])[], count: number, seed: number): Item[] {
  const items = rounds.flat();
  if (items.length <= count) return items;
  const chosen = new Set(shuffledIndices(items.length, seed).slice(0, count));
  return items.filter((_, at) => chosen.has(at));
}

/**
 * At most 16 of the rounds, given from the oldest to the newest: all, or every second, every fourth, …, and the newest.
 * So a round stays among them until their number has doubled, and its metrics can be followed. Of its own result it
 * leaves out none.
 */
export function thinOut<Round>(rounds: readonly Round[]): Round[] {
  if (rounds.length <= MAX_ROUNDS) return [...rounds];
  let stride = 1;
  while (Math.ceil(rounds.length / stride) >= MAX_ROUNDS) stride *= 2;
  return rounds.filter((_, at) => at % stride === 0 || at === rounds.length - 1);
}

/**
 * `count` of all items, as many of each round as of any other that has them. Of the same round a larger number contains a
 * smaller one, and the choice is always the same, so that successive rounds evaluate the same pairs. In turns: every
 * beginning of the result is spread over the rounds too.
 */
export function spreadEvenly<Item>(rounds: readonly (readonly Item[])[], count: number): Item[] {
  return takeTurns(rounds.map(scatter)).slice(0, count);
}

/** In an order that is always the same, and of which every beginning is spread over all of it. */
export function scatter<Item>(items: readonly Item[]): Item[] {
  return shuffledIndices(items.length, 0).map((at) => items[at]!);
}

/** The first of each list, then the second of each, and so on. */
export function takeTurns<Item>(lists: readonly (readonly Item[])[]): Item[] {
  const taken: Item[] = [];
  let left = lists;
  for (let turn = 0; left.length > 0; turn++) {
    left = left.filter(({ length }) => length > turn);
    for (const items of left) taken.push(items[turn]!);
  }
  return taken;
}
