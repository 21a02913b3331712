// Opens a stored policy in the training engine, to train it (with LoRA adapters if lora_rank is set) or to score with it.
import type { RoundSettings } from '../../shared/rounds/settings.ts';
import type { Engine } from '../engine/engine.ts';
import type { LoraConfig } from '../engine/lora.ts';
import { estimateStages, insufficientMemory, resolveMemoryBudget } from '../engine/memory-estimate.ts';
import { openEngine } from '../engine/open-engine.ts';
import { countInputTokens } from '../engine/packing.ts';
import type { RoundContext } from './round-context.ts';
import type { Selection } from './select-pairs.ts';

/** null: all weights are trained. */
export function toLora({
  lora_rank: rank,
  lora_alpha: alpha,
  lora_targets: targets,
  seed,
}: RoundSettings): LoraConfig | null {
  return rank > 0 ? { rank, alpha, targets, seed } : null;
}

export async function openPolicyEngine(
  { trainer: { settings, store }, config }: RoundContext,
  { architecture, pairs }: Selection,
  policyId: string,
  purpose: 'train' | 'score',
): Promise<Engine> {
  const lora = purpose === 'train' ? toLora(config) : null;
  const memoryBytes = resolveMemoryBudget(settings.TRAIN_MEMORY);
  const maxSequenceTokens = pairs.reduce(
    (longest, { tokens: { chosen, rejected } }) =>
      Math.max(longest, countInputTokens(chosen), countInputTokens(rejected)),
    0,
  );
  // With adapters, what follows the training needs more than the training itself.
  if (purpose === 'train') {
    const { evaluating, publishing } = estimateStages({ architecture, lora }, [], maxSequenceTokens);
    const laterBytes = Math.max(evaluating, publishing);
    if (laterBytes > memoryBytes) throw insufficientMemory(laterBytes, memoryBytes);
  }
  return openEngine({
    architecture,
    weights: await store.getFolder(policyId),
    objective: config,
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
