// The held-out evaluation of a reward: how often it prefers what raters chose, with an interval over prompts. Nothing
// decides by it, so an accuracy that chance explains is a warning.
import type { Interval } from '../../shared/database/round-types.ts';
import { AttuneError } from '../../shared/error.ts';
import type { Engine, TrainPair } from '../engine/engine.ts';
import { adviseOnDivergence } from '../evaluation/divergence-advice.ts';
import { evaluatePolicy } from '../evaluation/evaluation.ts';
import { findNonFinite } from '../evaluation/gate.ts';
import type { RoundContext } from './round-context.ts';

export type RewardEvaluation = {
  metrics: Record<string, number>;
  intervals: Record<string, Interval>;
  /** In words, for the round. */
  reason: string;
};

/** `steps`: the number of steps that the engine has trained. */
export async function evaluateReward(
  { log, config }: RoundContext,
  engine: Engine,
  heldOut: TrainPair[],
  steps: number,
): Promise<RewardEvaluation> {
  await log.enterStage('evaluating', 'evaluating on held-out pairs');
  const { metrics, intervals } = await evaluatePolicy(engine, heldOut, config.seed, (done, total) =>
    log.reportProgress('evaluating', done, total, 'held-out pairs'),
  );
  // Publishing takes the place of gradient and moments.
  await engine.endTraining();
  const nonFinite = findNonFinite({ metrics });
  if (nonFinite)
    throw new AttuneError(
      `training diverged: ${nonFinite[0]} on held-out pairs is ${nonFinite[1]}; ${adviseOnDivergence('reward', config)}`,
      {
        code: 'training_diverged',
      },
    );
  const known = Object.fromEntries(Object.entries(intervals).filter(([, interval]) => interval !== null));
  const evaluation = { metrics, intervals: known as Record<string, Interval> };
  const { message, isChance } = describeAccuracy(evaluation, heldOut.length);
  await log.addMetrics(steps, 'held_out', metrics);
  await log.update({ metrics, reason: message });
  await log.addEvent('message', message, { intervals: known }, isChance ? 'warn' : 'info');
  return { ...evaluation, reason: message };
}

function describeAccuracy(
  { metrics, intervals }: Pick<RewardEvaluation, 'metrics' | 'intervals'>,
  pairs: number,
): { message: string; isChance: boolean } {
  const name = 'rewards/accuracies';
  // At least MIN_CLUSTERS held-out prompts were selected, so there is an interval.
  const { low, high } = intervals[name]!;
  const percent = (value: number) => (100 * value).toFixed(1);
  const accuracy = `accuracy ${percent(metrics[name]!)}% [${percent(low)}, ${percent(high)}] on ${pairs} held-out pairs`;
  const isChance = low <= 0.5;
  const advice = 'chance explains that: collect more pairs, or raise EPOCHS or REWARD_LEARNING_RATE';
  return { message: isChance ? `${accuracy}; ${advice}` : accuracy, isChance };
}
