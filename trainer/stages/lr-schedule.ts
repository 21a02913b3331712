// The learning rate of each step, as in the released settings of the DIL paper (warm-up over a tenth of the steps, then a
// cosine to zero), and the steps after which held-out pairs are evaluated.

export type LearningRateSettings = { learning_rate: number; lr_schedule: 'cosine' | 'constant'; warm_up: number };

/** 0 ≤ step < steps. */
export function learningRateAt(step: number, steps: number, config: LearningRateSettings): number {
  const peak = config.learning_rate;
  const warmUpSteps = Math.ceil(steps * config.warm_up);
  if (step < warmUpSteps) return (peak * (step + 1)) / warmUpSteps;
  if (config.lr_schedule === 'constant') return peak;
  return (peak * (1 + Math.cos((Math.PI * (step - warmUpSteps)) / Math.max(1, steps - warmUpSteps)))) / 2;
}

/** Evaluations cost at most this share of the training's tokens, if a forward pass costs a third of a step. */
const MAX_EVALUATION_SHARE = 0.2;
const EVALUATIONS = 4;
const MIN_PAIRS = 16;

/** The steps after which held-out pairs are evaluated, and the pairs: as many as MAX_EVALUATION_SHARE allows. */
export function planEvaluations<Pair>(
  { train, heldOut, config }: { train: Pair[]; heldOut: Pair[]; config: { epochs: number; effort: number } },
  steps: number,
): { evaluationSteps: Set<number>; pairs: Pair[] } {
  const count = Math.min(steps, Math.ceil(EVALUATIONS * config.effort));
  const affordable = Math.floor((3 * MAX_EVALUATION_SHARE * train.length * config.epochs) / count);
  const pairs = heldOut.slice(0, Math.max(MIN_PAIRS, affordable));
  const evaluationSteps = Array.from({ length: count }, (_, i) => Math.round(((i + 1) * steps) / count));
  return { evaluationSteps: new Set(pairs.length > 0 ? evaluationSteps : []), pairs };
}
