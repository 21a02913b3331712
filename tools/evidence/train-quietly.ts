// The trainer's own loop without a round: no events, metrics or progress; everything that is not asked for is a default.
import { completeRoundSettings, type RoundRequest } from '../../shared/rounds/settings.ts';
import { readSettings } from '../../shared/settings.ts';
import type { Engine, TrainPair } from '../../trainer/engine/engine.ts';
import { type TrainOptions, trainPolicy } from '../../trainer/training.ts';

export function trainQuietly(
  engine: Engine,
  { train, heldOut }: { train: TrainPair[]; heldOut: TrainPair[] },
  request: RoundRequest,
  folder: string,
  reportProgress: TrainOptions['log']['reportProgress'] = () => {},
): Promise<{ steps: number }> {
  const config = completeRoundSettings(request, readSettings({}));
  const log = { addEvent: async () => {}, addMetrics: async () => {}, reportProgress };
  return trainPolicy({ engine, train, heldOut, config, objective: { type: config.objective }, log, folder });
}
