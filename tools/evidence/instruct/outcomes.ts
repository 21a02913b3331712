// What each method did on a real policy: its learning rate is the one with the best accuracy on the validation pairs, the
// larger one of two that are equal; everything else is measured on the test pairs, with intervals that resample prompts.
import { type Estimate, estimateMean } from '../../../shared/statistics/confidence-interval.ts';
import { mean } from '../../report/statistics.ts';
import type { PairLogps } from './scored-pairs.ts';
import type { InstructRun, InstructStudy } from './study.ts';

export type InstructOutcome = {
  run: InstructRun;
  /** Share of pairs whose chosen response gained more than the rejected one, in nats per response. */
  accuracy: Estimate;
  margin: Estimate;
  chosen: Estimate;
  rejected: Estimate;
};

/** One outcome for each method. */
export function chooseOutcomes(study: InstructStudy): InstructOutcome[] {
  const byName = Map.groupBy(study.runs, ({ name }) => name);
  return Array.from(byName.values(), (runs) => {
    const validated = runs
      .map((run) => ({ run, accuracy: mean(toAccuracies(marginsOf(study.before.validation, run.validation))) }))
      .sort((a, b) => a.run.learningRate - b.run.learningRate);
    return measureOutcome(study, validated.reduce((best, next) => (next.accuracy >= best.accuracy ? next : best)).run);
  });
}

export function measureOutcome(study: InstructStudy, run: InstructRun): InstructOutcome {
  const over = (values: number[]) => estimateMean(values, study.prompts.test);
  const margins = marginsOf(study.before.test, run.test);
  return {
    run,
    accuracy: over(toAccuracies(margins)),
    margin: over(margins),
    chosen: over(changes(study.before.test, run.test, 'chosen')),
    rejected: over(changes(study.before.test, run.test, 'rejected')),
  };
}

function changes(before: PairLogps, after: PairLogps, side: keyof PairLogps): number[] {
  return after[side].map((logp, i) => logp - before[side][i]!);
}

function marginsOf(before: PairLogps, after: PairLogps): number[] {
  const rejected = changes(before, after, 'rejected');
  return changes(before, after, 'chosen').map((change, i) => change - rejected[i]!);
}

/** A margin of 0 counts as half. */
function toAccuracies(margins: readonly number[]): number[] {
  return margins.map((margin) => (1 + Math.sign(margin)) / 2);
}

/** What one method has more than another, pair by pair. */
export function compareOutcomes(
  study: InstructStudy,
  { run }: InstructOutcome,
  other: InstructOutcome,
): Pick<InstructOutcome, 'accuracy' | 'margin' | 'chosen' | 'rejected'> {
  const { before, prompts } = study;
  const difference = (values: (run: InstructRun) => number[]) => {
    const others = values(other.run);
    return estimateMean(
      values(run).map((value, i) => value - others[i]!),
      prompts.test,
    );
  };
  return {
    accuracy: difference(({ test }) => toAccuracies(marginsOf(before.test, test))),
    margin: difference(({ test }) => marginsOf(before.test, test)),
    chosen: difference(({ test }) => changes(before.test, test, 'chosen')),
    rejected: difference(({ test }) => changes(before.test, test, 'rejected')),
  };
}
