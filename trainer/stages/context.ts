// A round under way: what all of its stages share.
import { readCheckpoint } from '../../shared/model/checkpoint.ts';
import type { RoundSettings } from '../../shared/rounds/settings.ts';
import { describeModule, isModule } from '../divergence.ts';
import type { Engine } from '../engine/engine.ts';
import { openEngine } from '../engine/open-engine.ts';
import { countInputTokens } from '../engine/packing.ts';
import type { RoundRecord } from './log.ts';
import type { Plan, Workshop } from './select-pairs.ts';

export type Course = {
  workshop: Workshop;
  record: RoundRecord;
  how: RoundSettings;
  plan: Plan;
  /** What the package says that it was trained by: the name of an objective, or a user's module as it is now. */
  objective: { type: string; sha256?: string };
};

export async function describeObjective(objective: string): Promise<Course['objective']> {
  if (!isModule(objective)) return { type: objective };
  const { name, sha256 } = await describeModule(objective);
  return { type: name, sha256 };
}

/** null where all weights are trained. */
export function toLora({ lora_rank: rank, lora_alpha: alpha, lora_targets: targets, seed }: RoundSettings) {
  return rank > 0 ? { rank, alpha, targets, seed } : null;
}

/** The engine with a policy of the shelf; what is not to be trained gets no adapters. */
export async function openPolicy(
  { workshop: { settings, shelf }, how, plan }: Course,
  id: string,
  purpose: 'to train' | 'to score' = 'to score',
): Promise<Engine> {
  const { weights } = await readCheckpoint(await shelf.folderOf(id));
  return openEngine({
    architecture: plan.architecture,
    weights,
    objective: how,
    optimizer: { weightDecay: how.weight_decay, maxGradNorm: how.max_grad_norm },
    engine: settings.ENGINE,
    provider: settings.TRAIN_PROVIDER,
    threads: settings.TRAIN_THREADS,
    memoryBytes: settings.TRAIN_MEMORY,
    lora: purpose === 'to train' ? toLora(how) : null,
    scoreOnly: purpose === 'to score',
    maxSequenceTokens: plan.pairs.reduce(
      (most, { tokens: { chosen, rejected } }) => Math.max(most, countInputTokens(chosen), countInputTokens(rejected)),
      0,
    ),
  });
}
