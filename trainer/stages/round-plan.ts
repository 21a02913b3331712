// What a round will compute, from which its memory and its time are estimated. The round and its dry run share this plan,
// so a round that a dry run refuses is refused before its first stage.
import type { Database } from '../../shared/database/connect.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import type { RoundSettings } from '../../shared/rounds/settings.ts';
import type { TrainPair } from '../engine/engine.ts';
import type { LoraConfig } from '../engine/lora.ts';
import {
  chooseMicroBatchTokens,
  chooseRolloutRows,
  estimateSamplingInTraining,
  estimateStages,
  insufficientMemory,
  type MemoryOptions,
  resolveMemoryBudget,
} from '../engine/memory-estimate.ts';
import { countInputTokens, estimateAttentionCost, type MicroBatchShape, planShapes } from '../engine/packing.ts';
import { resolveEngine } from '../engine/select-device.ts';
import { findLongest, planRollouts, type RolloutRequest } from '../evaluation/rollouts.ts';
import { selectBatch } from '../training.ts';
import { type DistilledReward, findReward } from './distilled-reward.ts';
import { type EvaluationPlan, planEvaluations } from './evaluation-plan.ts';
import type { TrainerContext } from './round-context.ts';
import type { Selection } from './selection.ts';

export type PairSequences = Pick<TrainPair, 'chosen' | 'rejected'>;

/** `rows`: requests that are sampled together. `maxTokens`: of the longest request with its response. */
export type SamplingPlan = { requests: RolloutRequest[]; rows: number; maxTokens: number };

export type RoundPlan = {
  /** The model that is trained. */
  trained: MemoryOptions & { engine: 'onnx' | 'tensorflow' };
  /** Which a distillation distils. */
  reward: DistilledReward | null;
  memoryBytes: number;
  /** Of every engine of the round. */
  microBatchTokens: number;
  /** The longest that a distillation may sample, because its pairs do not exist yet. */
  train: PairSequences[];
  heldOut: PairSequences[];
  /** The pairs of each step of an epoch. */
  steps: PairSequences[][];
  evaluations: EvaluationPlan;
  /** The responses that a distillation trains on: two to a prompt, next to each other. */
  samples: SamplingPlan | null;
  /** What the baseline and the candidate sample for the gate, which rewards do not have. */
  rollouts: SamplingPlan | null;
  /** Those of them by which the KL is measured while the policy trains; null: it is not. */
  klRollouts: SamplingPlan | null;
  /** Bytes at the peak of each stage. */
  memory: Record<string, number>;
};

export type PlannedSelection = Selection & { plan: RoundPlan };

/**
 * For a selection that is valid. Throws `too_little_memory` if a stage does not fit, and AttuneError if the reward of a
 * distillation or the engine is not there.
 */
export async function planRound(
  { settings, store }: TrainerContext,
  db: Database,
  selection: Selection,
  config: RoundSettings,
): Promise<RoundPlan> {
  const { architecture, method, pairs } = selection;
  const isReward = method === 'reward';
  const reward = !isReward && config.objective === 'distill' ? await findReward(store, db, selection, config) : null;
  const { name: engine } = await resolveEngine(settings.ENGINE, settings.TRAIN_PROVIDER);
  const trainedArchitecture: Architecture = { ...architecture, output: isReward ? 'reward' : 'logits' };
  const trained = { architecture: trainedArchitecture, lora: toLora(config), engine };
  const memoryBytes = resolveMemoryBudget(settings.TRAIN_MEMORY);
  const planSampling = (requests: RolloutRequest[]): SamplingPlan => {
    const maxTokens = findLongest(requests);
    const rows = Math.min(requests.length, chooseRolloutRows(trained, maxTokens, memoryBytes));
    return { requests, rows, maxTokens };
  };

  const ofSplit = (split: string) => pairs.flatMap(({ pair, tokens }) => (pair.split === split ? [tokens] : []));
  const [rated, heldOut] = [ofSplit('train'), ofSplit('held_out')];
  const samples = reward
    ? planSampling(planRollouts(rated, rated.length, architecture).flatMap((request) => [request, request]))
    : null;
  const train = samples ? pairLongest(samples.requests) : rated;
  const stepsPerEpoch = Math.ceil(train.length / config.batch_pairs);
  const evaluations = planEvaluations({ train, heldOut, config, method }, stepsPerEpoch * config.epochs);
  const rollouts = isReward ? null : planSampling(planRollouts(heldOut, evaluations.samples, architecture));

  const steps = Array.from({ length: stepsPerEpoch }, (_, at) => selectBatch(train, config, at, stepsPerEpoch));
  const maxSequenceTokens = findLongestSequence([...train, ...heldOut]);
  const microBatchTokens = chooseMicroBatchTokens({ ...trained, maxSequenceTokens }, memoryBytes);
  const batches = { trained, microBatchTokens };
  const shapes = {
    step: steps.flatMap((step) => planPairs(batches, step)),
    forward: planPairs(batches, [...train, ...heldOut]),
  };
  const memory = estimateStages(trained, {
    shapes,
    reward: reward && { ...trained, architecture: reward.architecture },
    sampling: [samples, rollouts].flatMap((sampling) => sampling ?? []),
  });
  for (const [stage, bytes] of Object.entries(memory))
    if (bytes > memoryBytes) throw insufficientMemory(bytes, memoryBytes, stage);
  // The engine that trains keeps its memory meanwhile: if both do not fit, the round goes without.
  const klRollouts = rollouts && evaluations.count > 1 ? planKlRollouts(rollouts, evaluations.klSamples) : null;
  const training = klRollouts ? estimateSamplingInTraining(trained, shapes, klRollouts) : Infinity;
  const isKlMeasured = training <= memoryBytes;
  return {
    ...batches,
    reward,
    memoryBytes,
    train,
    heldOut,
    steps,
    evaluations,
    samples,
    rollouts,
    klRollouts: isKlMeasured ? klRollouts : null,
    memory: isKlMeasured ? { ...memory, training } : memory,
  };
}

/** With the same random numbers as the gate's. */
function planKlRollouts({ requests, rows }: SamplingPlan, count: number): SamplingPlan {
  const first = requests.slice(0, count);
  return { requests: first, rows: Math.min(count, rows), maxTokens: findLongest(first) };
}

/** The micro-batches of some pairs. */
export function planPairs(
  { trained, microBatchTokens }: Pick<RoundPlan, 'trained' | 'microBatchTokens'>,
  pairs: PairSequences[],
): MicroBatchShape[] {
  const items = pairs.map(({ chosen, rejected }) => [chosen, rejected]);
  return planShapes(items, microBatchTokens, estimateAttentionCost(trained.architecture));
}

/** null: all weights are trained. */
function toLora({ lora_rank: rank, lora_alpha: alpha, lora_targets: targets, seed }: RoundSettings): LoraConfig | null {
  return rank > 0 ? { rank, alpha, targets, seed } : null;
}

/** The pairs of requests that are next to each other, as if all responses were as long as they may be. */
function pairLongest(requests: RolloutRequest[]): PairSequences[] {
  const toSequence = ({ promptIds, maxTokens }: RolloutRequest) => ({
    promptIds,
    responseIds: Array<number>(maxTokens).fill(0),
  });
  return Array.from({ length: requests.length / 2 }, (_, at) => ({
    chosen: toSequence(requests[2 * at]!),
    rejected: toSequence(requests[2 * at + 1]!),
  }));
}

/** Tokens of the longest response with its prompt. */
function findLongestSequence(pairs: PairSequences[]): number {
  return pairs.reduce(
    (longest, { chosen, rejected }) => Math.max(longest, countInputTokens(chosen), countInputTokens(rejected)),
    0,
  );
}
