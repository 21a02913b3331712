import path from 'node:path';
import { completeRoundSettings } from '../../../shared/rounds/settings.ts';
import { readSettings } from '../../../shared/settings.ts';
import type { Engine, TrainPair } from '../../../trainer/engine/engine.ts';
import { trainPolicy } from '../../../trainer/training.ts';
import type { OnlineMethod, OnlineRunSpec } from './config.ts';
import type { World } from './world.ts';

/** One round's training, by the trainer's own loop. */
export function trainRound(
  world: World,
  engine: Engine,
  method: OnlineMethod & Pick<OnlineRunSpec, 'learningRate'>,
  seed: number,
  { train, heldOut }: { train: TrainPair[]; heldOut: TrainPair[] },
): Promise<{ steps: number }> {
  const { objective, reduction, negatives, reference, weighting, beta, learningRate } = method;
  const request = { objective, reduction, negatives, reference, weighting, beta, learning_rate: learningRate, seed };
  return trainPolicy({
    engine,
    train,
    heldOut,
    config: completeRoundSettings({ ...request, batch_pairs: world.shared.sizes.batchPairs }, readSettings({})),
    objective: { type: objective },
    log: { addEvent: async () => {}, addMetrics: async () => {}, reportProgress: () => {} },
    folder: path.join(world.shared.folder, `round-${seed}`),
  });
}
