// One round's training by the trainer's own loop.
import path from 'node:path';
import type { Engine, TrainPair } from '../../../trainer/engine/engine.ts';
import { trainQuietly } from '../train-quietly.ts';
import type { OnlineMethod, OnlineRunSpec } from './config.ts';
import type { World } from './world.ts';

export function trainRound(
  world: World,
  engine: Engine,
  method: OnlineMethod & Pick<OnlineRunSpec, 'learningRate'>,
  seed: number,
  pairs: { train: TrainPair[]; heldOut: TrainPair[] },
): Promise<{ steps: number }> {
  const { objective, reduction, negatives, reference, weighting, beta, learningRate } = method;
  const { sizes, folder } = world.shared;
  const request = { objective, reduction, negatives, reference, weighting, beta, learning_rate: learningRate, seed };
  return trainQuietly(engine, pairs, { ...request, batch_pairs: sizes.batchPairs }, path.join(folder, `round-${seed}`));
}
