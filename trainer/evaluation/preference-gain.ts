// How much more a policy agrees with the raters than the baseline does, on held-out pairs. For each pair
//   m = [log π(y_w|x) − log π_baseline(y_w|x)] − [log π(y_l|x) − log π_baseline(y_l|x)]
// is the margin of DPO's implicit reward (arXiv 2305.18290) with the baseline as the reference: it does not depend on the
// objective. The gate judges the mean of tanh(m / median |m|): bounded, so that a few long responses do not decide, and
// with more power than the share of positive margins, which forgets their sizes (docs/LOG.md compares statistics).
import { type Estimate, estimateMean } from '../../shared/statistics/confidence-interval.ts';
import type { Evaluation } from './evaluation.ts';

export type PreferenceGain = {
  /** Of tanh(m / median |m|), between −1 and 1. */
  bounded: Estimate;
  /** Of m, in nats per response. */
  margin: Estimate;
  /** Share of positive margins; a margin of 0 counts as half. */
  accuracy: Estimate;
};

/** Both evaluations are of the same pairs. */
export function measurePreferenceGain(baseline: Evaluation, candidate: Evaluation, seed = 0): PreferenceGain {
  const margins = computeMargins(baseline, candidate);
  const over = (values: number[]) => estimateMean(values, candidate.prompts, seed);
  return {
    bounded: over(boundMargins(margins)),
    margin: over(margins),
    accuracy: over(margins.map((margin) => (1 + Math.sign(margin)) / 2)),
  };
}

/** m of each pair, in nats. */
function computeMargins(baseline: Evaluation, candidate: Evaluation): number[] {
  return candidate.outcomes.map(({ chosenLogp, rejectedLogp }, at) => {
    const before = baseline.outcomes[at]!;
    return chosenLogp - before.chosenLogp - (rejectedLogp - before.rejectedLogp);
  });
}

/** tanh(m / median |m|): nearly linear for most pairs; all 0 if the margins are. */
export function boundMargins(margins: readonly number[]): number[] {
  const sizes = margins.map(Math.abs).sort((a, b) => a - b);
  const scale = sizes[Math.floor(sizes.length / 2)] || sizes.at(-1) || 1;
  return margins.map((margin) => Math.tanh(margin / scale));
}
