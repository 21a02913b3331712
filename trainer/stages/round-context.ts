// What the stages of a round share: the trainer that runs it, its row, its log and its settings.

import path from 'node:path';
import { isObjectiveModule } from '../../shared/hyperparameters.ts';
import type { RoundRow } from '../../shared/rounds/schedule.ts';
import { completeRoundSettings, parseRoundRequest, type RoundSettings } from '../../shared/rounds/settings.ts';
import type { Settings } from '../../shared/settings.ts';
import type { LocalStore } from '../../shared/store/local-store.ts';
import type { Tracing } from '../../shared/tracing.ts';
import { hashModule } from '../divergence.ts';
import { parseObjective, parseRewardObjective } from '../objectives.ts';
import type { RoundLog } from './log.ts';

export type TrainerContext = { settings: Settings; store: LocalStore; tracing?: Tracing | null };

/** For the manifest: the name of an objective, or a custom module's name and digest. */
export type ObjectiveDescription = { type: string; sha256?: string };

/** A round that this trainer has claimed. */
export type OwnedRound = RoundRow & { owner: string };

export type RoundContext = {
  trainer: TrainerContext;
  round: RoundRow;
  log: RoundLog;
  config: RoundSettings;
  objective: ObjectiveDescription;
  /** The round's folder on this machine. */
  folder: string;
  /** This trainer's own, so that one which has lost the round does not write into that of its successor. */
  checkpointFolder: string;
};

/** Where the rounds have their folders. */
export function roundsFolder({ ATTUNE_HOME }: Pick<Settings, 'ATTUNE_HOME'>): string {
  return path.resolve(ATTUNE_HOME, 'rounds');
}

/** Throws AttuneError for invalid settings. */
export async function createRoundContext(
  trainer: TrainerContext,
  round: OwnedRound,
  log: RoundLog,
): Promise<RoundContext> {
  const config = completeRoundSettings(parseRoundRequest(round), trainer.settings);
  const objective = await describeObjective(round, config);
  const folder = path.join(roundsFolder(trainer.settings), round.id);
  return { trainer, round, log, config, objective, folder, checkpointFolder: path.join(folder, round.owner) };
}

async function describeObjective({ method }: RoundRow, config: RoundSettings): Promise<ObjectiveDescription> {
  if (method === 'reward') {
    parseRewardObjective(config);
    return { type: config.reward_loss };
  }
  const { objective } = parseObjective(config);
  if (!isObjectiveModule(objective)) return { type: objective };
  const { name, sha256 } = await hashModule(objective);
  return { type: name, sha256 };
}
