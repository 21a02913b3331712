// Which of the held-out pairs that a round found are evaluated: spread over keys, raters and time, so that nobody chooses what
// the gate sees, and those of earlier rounds over the rounds.

import { MAX_HELD_OUT } from '../evaluation/gate-power.ts';
import { orderInTurns, type Shares } from './pair-shares.ts';
import { limitEarlier, scatter, spreadEvenly, thinOut } from './replay.ts';
import type { RoundPair } from './round-pairs.ts';

/** Of the held-out pairs, at most a tenth are from one rater, once they are from ten. */
const RATER_SHARE = 0.1;
/** Less than of the training pairs: together with one rater, a key does not have the majority. */
const SOURCE_SHARE = 1 / 3;

/** Given those of the training pairs. A key that may give all of these, as a team's own backend may, may give all others. */
export function toHeldOutShares({ source }: Shares): Shares {
  return { rater: RATER_SHARE, source: source === 1 ? 1 : Math.min(source, SOURCE_SHARE) };
}

/**
 * The pairs to train on, and the held-out ones to evaluate: new ones in turns over keys and raters, of each rater from all of
 * the time; then those of earlier rounds in turns, so that any beginning of them is of use. The same pairs give the same choice.
 */
export function limitHeldOut(pairs: RoundPair[]): RoundPair[] {
  const train = pairs.filter(({ split }) => split === 'train');
  const heldOut = pairs.filter(({ split }) => split === 'held_out');
  const isNew = ({ learnedIn }: RoundPair) => learnedIn === null;
  const fresh = orderInTurns(heldOut.filter(isNew), scatter).slice(0, MAX_HELD_OUT);
  const byRound = Map.groupBy(
    heldOut.filter((pair) => !isNew(pair)),
    ({ learnedIn }) => learnedIn!,
  );
  // In the order in which findEarlierHeldOut chooses, so that a round on everything evaluates the same ones.
  const oldestFirst = (earlier: RoundPair[]) => earlier.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const rounds = [...byRound].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, earlier]) => oldestFirst(earlier));
  return [...train, ...fresh, ...spreadEvenly(thinOut(rounds), limitEarlier(train.length, fresh.length))];
}
