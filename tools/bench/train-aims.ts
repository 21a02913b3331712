// What the project set out to reach in training on two cores, and how far a run got.
import type { Ceiling } from './train-ceiling.ts';
import type { RoundResult } from './train-round.ts';
import { median, type StepsResult } from './train-steps.ts';

export type TrainAim = {
  what: string;
  /** Against whom, or of what. */
  of: string;
  /** A quotient: at least this, or for memory below it. */
  aim: number;
  reached: number;
  isReached: boolean;
  /** Others worked while either side was measured. */
  isDisturbed: boolean;
};

const OURS = 'attune';
/** Cores. More than this, and a figure says little. */
const TOLERATED = 0.25;

const isDisturbed = (...results: { others: number }[]) => results.some(({ others }) => others > TOLERATED);

/** Rounds ran one after the other, so their quotients tell more than a quotient of medians of different moments. */
export function judgeSteps(results: StepsResult[], ceiling: Ceiling): TrainAim[] {
  const ours = results.find(({ peer }) => peer === OURS);
  if (!ours) return [];
  const against = results
    .filter(({ peer }) => peer !== OURS)
    .flatMap((theirs): TrainAim[] => [
      atLeast('tokens/s', theirs.peer, 2, median(theirs.rounds.map((seconds, at) => seconds / ours.rounds[at]!)), [
        ours,
        theirs,
      ]),
      below('peak memory', theirs.peer, ours.peakMiB / theirs.peakMiB),
    ]);
  const share = ours.flops / ours.median / ceiling.best;
  return [...against, atLeast('operations/s', 'the ceiling', 0.85, share, [ours])];
}

export function judgeRounds(results: RoundResult[]): TrainAim[] {
  const ours = results.find(({ peer }) => peer === OURS);
  if (!ours) return [];
  return results
    .filter(({ peer }) => peer !== OURS)
    .flatMap((theirs) => [
      atLeast('pairs/s of a round', theirs.peer, 3, ours.pairsPerSecond / theirs.pairsPerSecond, [ours, theirs]),
      below('peak memory of it', theirs.peer, ours.peakMiB / theirs.peakMiB),
    ]);
}

function atLeast(what: string, of: string, aim: number, reached: number, sides: { others: number }[]): TrainAim {
  return { what, of, aim, reached, isReached: reached >= aim, isDisturbed: isDisturbed(...sides) };
}

/** Memory is what it is, whoever else works. */
function below(what: string, of: string, reached: number): TrainAim {
  return { what, of, aim: 1, reached, isReached: reached < 1, isDisturbed: false };
}
