// The project's training targets on two cores and their evaluation.
import type { PeakFlops } from './train-peak-flops.ts';
import type { RoundResult } from './train-round.ts';
import { median, type StepsResult } from './train-steps.ts';

export type TrainTarget = {
  metric: string;
  /** The peer, or the upper bound, that the ratio is relative to. */
  baseline: string;
  /** Minimum ratio; for memory the upper limit. */
  target: number;
  reached: number;
  isReached: boolean;
  /** Other processes ran during either measurement. */
  isNoisy: boolean;
};

const ATTUNE = 'attune';
/** A figure is noisy if other processes used more than this many cores. */
const MAX_OTHER_CORES = 0.25;

type Measured = { otherCores: number };

const isNoisy = (...results: Measured[]) => results.some(({ otherCores }) => otherCores > MAX_OTHER_CORES);

/** Compares runs of the same round, which share disturbances, instead of medians over time. */
export function evaluateStepTargets(results: StepsResult[], peak: PeakFlops): TrainTarget[] {
  const ours = results.find(({ peer }) => peer === ATTUNE);
  if (!ours) return [];
  const comparisons = results
    .filter(({ peer }) => peer !== ATTUNE)
    .flatMap((theirs): TrainTarget[] => [
      atLeast('tokens/s', theirs.peer, 2, median(theirs.rounds.map((seconds, at) => seconds / ours.rounds[at]!)), [
        ours,
        theirs,
      ]),
      below('peak memory', theirs.peer, ours.peakMiB / theirs.peakMiB),
    ]);
  const mfu = ours.flops / ours.median / peak.best;
  return [...comparisons, atLeast('MFU', 'matmul peak', 0.85, mfu, [ours])];
}

export function evaluateRoundTargets(results: RoundResult[]): TrainTarget[] {
  const ours = results.find(({ peer }) => peer === ATTUNE);
  if (!ours) return [];
  return results
    .filter(({ peer }) => peer !== ATTUNE)
    .flatMap((theirs) => [
      atLeast('pairs/s of a round', theirs.peer, 3, ours.pairsPerSecond / theirs.pairsPerSecond, [ours, theirs]),
      below('peak memory of a round', theirs.peer, ours.peakMiB / theirs.peakMiB),
    ]);
}

function atLeast(metric: string, baseline: string, target: number, reached: number, measured: Measured[]): TrainTarget {
  return { metric, baseline, target, reached, isReached: reached >= target, isNoisy: isNoisy(...measured) };
}

/** Memory use is unaffected by other processes. */
function below(metric: string, baseline: string, reached: number): TrainTarget {
  return { metric, baseline, target: 1, reached, isReached: reached < 1, isNoisy: false };
}
