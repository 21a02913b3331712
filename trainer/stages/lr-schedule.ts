// The learning rate of each step, as in the released settings of the DIL paper (warm-up over a tenth of the steps, then a
// cosine to zero).

export type LearningRateSettings = { learning_rate: number; lr_schedule: 'cosine' | 'constant'; warm_up: number };

/** 0 ≤ step < steps. */
export function learningRateAt(step: number, steps: number, config: LearningRateSettings): number {
  const peak = config.learning_rate;
  const warmUpSteps = Math.ceil(steps * config.warm_up);
  if (step < warmUpSteps) return (peak * (step + 1)) / warmUpSteps;
  if (config.lr_schedule === 'constant') return peak;
  return (peak * (1 + Math.cos((Math.PI * (step - warmUpSteps)) / Math.max(1, steps - warmUpSteps)))) / 2;
}
