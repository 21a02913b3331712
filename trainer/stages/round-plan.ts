// What a round will compute, of which its memory and its time are estimated.
import type { RoundSettings } from '../../shared/rounds/settings.ts';
import type { Settings } from '../../shared/settings.ts';
import type { TokenizedPair } from '../data/tokens.ts';
import {
  chooseMicroBatchTokens,
  chooseRolloutRows,
  estimateStages,
  type MemoryOptions,
  resolveMemoryBudget,
} from '../engine/memory-estimate.ts';
import { estimateAttentionCost, type MicroBatchShape, planShapes } from '../engine/packing.ts';
import { findLongest, planRollouts, type RolloutRequest } from '../evaluation/rollouts.ts';
import { selectBatch } from '../training.ts';
import { type EvaluationPlan, planEvaluations } from './evaluation-plan.ts';
import { toLora } from './policy-engine.ts';
import { findLongestSequence, type Selection } from './select-pairs.ts';

export type RoundPlan = {
  memory: MemoryOptions;
  memoryBytes: number;
  microBatchTokens: number;
  train: TokenizedPair[];
  heldOut: TokenizedPair[];
  /** The pairs of each step of an epoch. */
  steps: TokenizedPair[][];
  evaluations: EvaluationPlan<TokenizedPair>;
  requests: RolloutRequest[];
  /** Tokens of the longest request with its response. */
  longestRequest: number;
  /** Requests that are sampled together. */
  rows: number;
};

/** Throws `too_little_memory` if the longest pair does not fit. */
export function planRound({ architecture, pairs }: Selection, config: RoundSettings, settings: Settings): RoundPlan {
  const memory = { architecture, lora: toLora(config), engine: settings.ENGINE };
  const memoryBytes = resolveMemoryBudget(settings.TRAIN_MEMORY);
  const ofSplit = (split: string) => pairs.flatMap(({ pair, tokens }) => (pair.split === split ? [tokens] : []));
  const [train, heldOut] = [ofSplit('train'), ofSplit('held_out')];
  const stepsPerEpoch = Math.ceil(train.length / config.batch_pairs);
  const evaluations = planEvaluations({ train, heldOut, config }, stepsPerEpoch * config.epochs);
  const requests = planRollouts(heldOut, evaluations.samples, architecture);
  const longestRequest = findLongest(requests);
  return {
    memory,
    memoryBytes,
    microBatchTokens: chooseMicroBatchTokens({ ...memory, maxSequenceTokens: findLongestSequence(pairs) }, memoryBytes),
    train,
    heldOut,
    steps: Array.from({ length: stepsPerEpoch }, (_, step) => selectBatch(train, config, step, stepsPerEpoch)),
    evaluations,
    requests,
    longestRequest,
    rows: Math.min(requests.length, chooseRolloutRows(memory, longestRequest, memoryBytes)),
  };
}

/** The micro-batches of some pairs. */
export function planPairs({ memory, microBatchTokens }: RoundPlan, pairs: TokenizedPair[]): MicroBatchShape[] {
  const items = pairs.map(({ chosen, rejected }) => [chosen, rejected]);
  return planShapes(items, microBatchTokens, estimateAttentionCost(memory.architecture));
}

/** Bytes at the peak of each stage. */
export function estimateMemory(plan: RoundPlan): ReturnType<typeof estimateStages> {
  const shapes = {
    step: plan.steps.flatMap((step) => planPairs(plan, step)),
    forward: planPairs(plan, [...plan.train, ...plan.heldOut]),
  };
  return estimateStages(plan.memory, shapes, { rows: plan.rows, maxTokens: plan.longestRequest });
}
