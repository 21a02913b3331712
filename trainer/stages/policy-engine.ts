// Opens a stored policy or reward in the training engine, as the round was planned: to train it (with LoRA adapters if
// lora_rank is set) or to score with it.
import { readCheckpoint } from '../../shared/model/checkpoint.ts';
import type { Engine } from '../engine/engine.ts';
import { type EngineOptions, openEngine } from '../engine/open-engine.ts';
import { addRewardHead } from '../model/reward-head.ts';
import { parseRewardObjective } from '../objectives.ts';
import type { RoundContext } from './round-context.ts';
import type { PlannedSelection, RoundPlan } from './round-plan.ts';

type Context = Pick<RoundContext, 'trainer' | 'config'>;
type Purpose = 'train' | 'score';
type Model = Pick<EngineOptions, 'architecture' | 'weights' | 'movesWeights' | 'objective'>;

export async function openPolicyEngine(
  context: Context,
  { architecture, plan }: PlannedSelection,
  policyId: string,
  purpose: Purpose,
): Promise<Engine> {
  const weights = await context.trainer.store.getFolder(policyId);
  return open(context, plan, { architecture, weights, objective: context.config }, purpose);
}

/** A new reward with the body of the round's policy. */
export async function openNewRewardEngine(context: Context, { parentFolder, plan }: PlannedSelection): Promise<Engine> {
  const reward = addRewardHead(await readCheckpoint(parentFolder));
  return open(
    context,
    plan,
    { ...reward, movesWeights: true, objective: parseRewardObjective(context.config) },
    'train',
  );
}

/** The reward that the round distils, to score with. */
export async function openRewardEngine(context: Context, { plan }: PlannedSelection): Promise<Engine> {
  const { folder: weights, architecture } = plan.reward!;
  return open(context, plan, { architecture, weights, objective: {} }, 'score');
}

function open(
  { trainer: { settings }, config }: Context,
  { trained, memoryBytes, microBatchTokens }: RoundPlan,
  model: Model,
  purpose: Purpose,
): Promise<Engine> {
  return openEngine({
    ...model,
    optimizer: { weightDecay: config.weight_decay, maxGradNorm: config.max_grad_norm },
    engine: trained.engine,
    provider: settings.TRAIN_PROVIDER,
    threads: settings.TRAIN_THREADS,
    memoryBytes,
    microBatchTokens,
    lora: purpose === 'train' ? trained.lora : null,
    scoreOnly: purpose === 'score',
  });
}
