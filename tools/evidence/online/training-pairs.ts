// What a round of the loop trains on: rated pairs with the reference's log-probabilities and weights, or, for distill, the
// policy's own samples with the margins of a reward.
import { assessPairs, weighPair } from '../../../trainer/data/pair-quality.ts';
import type { Engine, Sequence, TrainPair } from '../../../trainer/engine/engine.ts';
import { weightPairs } from '../../../trainer/stages/importance.ts';
import type { OnlineRunSpec } from './config.ts';
import type { RatedPair, SampledSides } from './rating.ts';
import { scoreRewards, trainOnlineReward } from './reward.ts';
import type { World } from './world.ts';

export type SampledPair = RatedPair & { samplerLogps: { chosen: Float32Array; rejected: Float32Array } };

export async function addSamplerLogps(policy: Engine, pairs: RatedPair[]): Promise<SampledPair[]> {
  const logps = await policy.score(pairs.flatMap(({ chosen, rejected }) => [chosen, rejected]));
  return pairs.map((pair, i) => ({ ...pair, samplerLogps: { chosen: logps[2 * i]!, rejected: logps[2 * i + 1]! } }));
}

export async function addReference(
  reference: Engine,
  pairs: readonly Pick<TrainPair, 'chosen' | 'rejected'>[],
): Promise<TrainPair[]> {
  const logps = await reference.score(pairs.flatMap(({ chosen, rejected }) => [chosen, rejected]));
  return pairs.map(({ chosen, rejected }, i) => ({
    chosen,
    rejected,
    refChosenLogps: logps[2 * i]!,
    refRejectedLogps: logps[2 * i + 1]!,
  }));
}

/** With importance weights and the weights of votes that contradict each other. */
export function weighPairs(spec: OnlineRunSpec, sampled: SampledPair[], scored: TrainPair[]): TrainPair[] {
  return weighVotes(spec, sampled, weighImportance(spec, sampled, scored));
}

/** As a round does with the log-probabilities that were stored when the sides were sampled. */
function weighImportance(spec: OnlineRunSpec, sampled: SampledPair[], scored: TrainPair[]): TrainPair[] {
  if (spec.weighting === 'none') return scored;
  const side = ({ responseIds }: Sequence, logps: Float32Array) => ({ policyId: '', responseIds, logps: [...logps] });
  const items = sampled.map(({ chosen, rejected, samplerLogps }) => ({
    pair: {
      sampled: {
        promptIds: chosen.promptIds,
        chosen: side(chosen, samplerLogps.chosen),
        rejected: side(rejected, samplerLogps.rejected),
      },
    },
    tokens: { isPromptTruncated: false },
  }));
  return weightPairs({ negatives: spec.negatives, weight_cap: 2 }, items, scored).pairs;
}

/** As a round weighs votes that contradict each other, or leaves them out. */
function weighVotes({ contradictions = 'keep' }: OnlineRunSpec, rated: SampledPair[], train: TrainPair[]): TrainPair[] {
  const settings = { max_similarity: 1, contradictions, min_agreement: 0 };
  const qualities = assessPairs(rated, settings);
  return train.flatMap((pair, at) => {
    const weight = weighPair(qualities[at]!, settings);
    return typeof weight === 'number' ? [{ ...pair, weight }] : [];
  });
}

/** The second of the paper's two stages: both samples of each prompt with the margin of a reward trained on every vote. */
export async function distillPairs(
  world: World,
  { rewardLearningRate }: OnlineRunSpec,
  seed: number,
  rated: { train: RatedPair[]; heldOut: RatedPair[] },
  sampled: SampledSides[],
): Promise<{ train: TrainPair[]; heldOut: TrainPair[] }> {
  const reward = await trainOnlineReward(world, rated, {
    reward_loss: 'bradley_terry',
    learningRate: rewardLearningRate!,
    seed,
  });
  try {
    const addMargins = async (pairs: Pick<TrainPair, 'chosen' | 'rejected'>[]): Promise<TrainPair[]> => {
      const rewards = await scoreRewards(
        reward,
        pairs.flatMap(({ chosen, rejected }) => [chosen, rejected]),
      );
      const scored = await addReference(world.root, pairs);
      return scored.map((pair, i) => ({ ...pair, rewardMargin: rewards[2 * i]! - rewards[2 * i + 1]! }));
    };
    const samples = sampled.map(({ sides: [chosen, rejected] }) => ({ chosen, rejected }));
    return { train: await addMargins(samples), heldOut: await addMargins(rated.heldOut) };
  } finally {
    await reward.close();
  }
}
