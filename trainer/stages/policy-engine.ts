// Opens a stored policy or reward in the training engine, to train it (with LoRA adapters if lora_rank is set) or to score
// with it.
import { readCheckpoint } from '../../shared/model/checkpoint.ts';
import { readManifest } from '../../shared/package/files.ts';
import type { RoundSettings } from '../../shared/rounds/settings.ts';
import type { Engine } from '../engine/engine.ts';
import type { LoraConfig } from '../engine/lora.ts';
import { estimateStages, insufficientMemory, resolveMemoryBudget } from '../engine/memory-estimate.ts';
import { type EngineOptions, openEngine } from '../engine/open-engine.ts';
import { addRewardHead } from '../model/reward-head.ts';
import { parseRewardObjective } from '../objectives.ts';
import type { RoundContext } from './round-context.ts';
import { findLongestSequence, type Selection } from './select-pairs.ts';

/** null: all weights are trained. */
export function toLora({
  lora_rank: rank,
  lora_alpha: alpha,
  lora_targets: targets,
  seed,
}: RoundSettings): LoraConfig | null {
  return rank > 0 ? { rank, alpha, targets, seed } : null;
}

type Purpose = 'train' | 'score';
type Model = Pick<EngineOptions, 'architecture' | 'weights' | 'movesWeights' | 'objective'>;

export async function openPolicyEngine(
  context: Pick<RoundContext, 'trainer' | 'config'>,
  { architecture, pairs }: Selection,
  policyId: string,
  purpose: Purpose,
): Promise<Engine> {
  const weights = await context.trainer.store.getFolder(policyId);
  return open(context, { architecture, weights, objective: context.config }, purpose, pairs);
}

/** A new reward with the body of the round's policy. */
export async function openNewRewardEngine(context: RoundContext, { parentFolder, pairs }: Selection): Promise<Engine> {
  const reward = addRewardHead(await readCheckpoint(parentFolder));
  return open(
    context,
    { ...reward, movesWeights: true, objective: parseRewardObjective(context.config) },
    'train',
    pairs,
  );
}

/** A published reward, to score with. */
export async function openRewardEngine(context: RoundContext, { pairs }: Selection, rewardId: string): Promise<Engine> {
  const weights = await context.trainer.store.getFolder(rewardId);
  const { architecture } = await readManifest(weights);
  return open(context, { architecture, weights, objective: {} }, 'score', pairs);
}

function open(
  { trainer: { settings }, config }: Pick<RoundContext, 'trainer' | 'config'>,
  model: Model,
  purpose: Purpose,
  pairs: Selection['pairs'],
): Promise<Engine> {
  const lora = purpose === 'train' ? toLora(config) : null;
  const memoryBytes = resolveMemoryBudget(settings.TRAIN_MEMORY);
  const maxSequenceTokens = findLongestSequence(pairs);
  // With adapters, what follows the training needs more than the training itself.
  const { architecture } = model;
  if (purpose === 'train' && architecture.output === 'logits') {
    const { evaluating, publishing } = estimateStages(
      { architecture, lora },
      { step: [], forward: [] },
      { rows: 1, maxTokens: maxSequenceTokens },
    );
    const laterBytes = Math.max(evaluating, publishing);
    if (laterBytes > memoryBytes) throw insufficientMemory(laterBytes, memoryBytes);
  }
  return openEngine({
    ...model,
    optimizer: { weightDecay: config.weight_decay, maxGradNorm: config.max_grad_norm },
    engine: settings.ENGINE,
    provider: settings.TRAIN_PROVIDER,
    threads: settings.TRAIN_THREADS,
    memoryBytes,
    lora,
    scoreOnly: purpose === 'score',
    maxSequenceTokens,
  });
}
