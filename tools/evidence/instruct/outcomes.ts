// What each method did on a real policy: its learning rate is the one with the lowest preference log-loss, −log σ(βm) at
// dpo's β, on the validation pairs, which is the same for every objective; everything else is measured on the test pairs, with intervals that resample prompts.
import { type Estimate, estimateMean } from '../../../trainer/evaluation/confidence-interval.ts';
import { mean } from '../../report/statistics.ts';
import type { InstructRun, InstructStudy, PairLogps } from './study.ts';

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
    const validated = runs.map((run) => ({ run, loss: logLoss(marginsOf(study.before.validation, run.validation)) }));
    return measureOutcome(study, validated.reduce((best, next) => (next.loss < best.loss ? next : best)).run);
  });
}

export function measureOutcome(study: InstructStudy, run: InstructRun): InstructOutcome {
  const over = (values: number[]) => estimateMean(values, study.prompts.test);
  const margins = marginsOf(study.before.test, run.test);
  return {
    run,
    accuracy: over(margins.map((margin) => (1 + Math.sign(margin)) / 2)),
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

const BETA = 0.1;

function logLoss(margins: readonly number[]): number {
  return mean(margins.map((margin) => Math.log1p(Math.exp(-BETA * margin))));
}
