// Stage 3 of a round: the parent's evaluation and the training of a policy, or the training of a reward.

import type { Engine, TrainPair } from '../engine/engine.ts';
import { type Evaluation, evaluatePolicy } from '../evaluation/evaluation.ts';
import { trainPolicy } from '../training.ts';
import { adoptCheckpoint } from './checkpoint.ts';
import { findParentKl, openKlMeasure } from './kl-in-training.ts';
import type { RoundContext } from './round-context.ts';
import type { PlannedSelection } from './round-plan.ts';

/** Evaluates the parent, which the engine holds at step 0, and trains it. */
export async function trainCandidate(
  context: RoundContext,
  selection: PlannedSelection,
  engine: Engine,
  train: TrainPair[],
  heldOut: TrainPair[],
): Promise<{ parent: Evaluation; steps: number }> {
  const { log, config, objective, checkpointFolder: folder } = context;
  const message = `training on ${train.length} pairs by ${engine.name}, ${heldOut.length} held out`;
  await log.enterStage('training', message);
  await adoptCheckpoint(folder);
  const parent = await evaluatePolicy(engine, heldOut, config.seed, (done, total) =>
    log.reportProgress('training', done, total, 'held-out pairs'),
  );
  await log.addMetrics(0, 'held_out', { ...parent.metrics, ...findParentKl(selection) }, parent.logps);
  const { evaluations } = selection.plan;
  const measureKl = openKlMeasure(context, selection, engine);
  const { steps } = await trainPolicy({
    engine,
    train,
    heldOut,
    evaluations,
    measureKl,
    config,
    objective,
    log,
    folder,
  });
  return { parent, steps };
}

/** Trains a reward from its first step, at which all rewards are 0. */
export async function trainReward(
  { log, config, objective, checkpointFolder: folder }: RoundContext,
  { plan: { evaluations } }: PlannedSelection,
  engine: Engine,
  train: TrainPair[],
  heldOut: TrainPair[],
): Promise<{ steps: number }> {
  await log.enterStage('training', `training a reward on ${train.length} pairs by ${engine.name}`);
  await adoptCheckpoint(folder);
  const ofReward = { ...config, learning_rate: config.reward_learning_rate };
  return trainPolicy({
    engine,
    train,
    heldOut,
    evaluations,
    config: ofReward,
    method: 'reward',
    objective,
    log,
    folder,
  });
}
