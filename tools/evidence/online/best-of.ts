// The baseline that trains no policy: of n responses of the root the one that a ranker likes best, for growing n. The KL
// of best-of-n from its policy is at most log n − (n − 1)/n (Beirami et al. 2024, arXiv 2401.01879).

import type { Sequence, TrainPair } from '../../../trainer/engine/engine.ts';
import { openEngine } from '../../../trainer/engine/open-engine.ts';
import { mean } from '../../report/statistics.ts';
import { type BestOfSpec, describeMethod, listMethods, toObjective } from './config.ts';
import { compareUtilities, scoreLogRatios } from './measurement.ts';
import { rateSides, sampleSides } from './rating.ts';
import { scoreRewards, trainOnlineReward } from './reward.ts';
import { standardizeTaste } from './tastes.ts';
import { trainRound } from './train-round.ts';
import { addReference } from './training-pairs.ts';
import { orderPrompts, type World } from './world.ts';

export type BestOfRun = {
  spec: BestOfSpec;
  /** Share of held-out pairs that the ranker orders as the raters did. */
  accuracy: number;
  points: { n: number; winRate: number; kl: number; meanLength: number }[];
};

const COUNTS = [1, 2, 4, 8];

export async function runBestOf(world: World, spec: BestOfSpec): Promise<BestOfRun> {
  const { sizes, prompts, weights } = world.shared;
  const rootTexts = world.rootSamples.map((sample) => world.decode(sample));
  const taste = standardizeTaste(spec.taste, rootTexts);
  const rootUtilities = rootTexts.map(taste.utility);
  const order = orderPrompts(world, spec.seed);
  const seed = 1000 * spec.seed;
  const rate = async (indices: number[], stream: number) =>
    rateSides(world, await sampleSides(world, weights, indices, stream), taste, { votes: 'taste', raters: 1 }, stream);
  const rated = {
    train: await rate(order.slice(sizes.heldOutPrompts, sizes.heldOutPrompts + sizes.trainPrompts), 10 * seed),
    heldOut: await rate(order.slice(0, sizes.heldOutPrompts), 10 * seed + 5),
  };
  const ranker = await trainRanker(world, spec, rated);
  try {
    const most = COUNTS.at(-1)!;
    const requests = prompts.evaluation.flatMap((prompt) => Array.from({ length: most }, () => prompt));
    const samples = await world.sample(weights, requests, seed + 1);
    const scores = await ranker.score(samples);
    const held = await ranker.score(rated.heldOut.flatMap(({ chosen, rejected }) => [chosen, rejected]));
    return {
      spec,
      accuracy: mean(rated.heldOut.map((_, i) => (held[2 * i]! > held[2 * i + 1]! ? 1 : 0))),
      points: COUNTS.map((n) => {
        const best = pickBest(scores, most, n).map((at) => samples[at]!);
        return {
          n,
          winRate: compareUtilities(
            best.map((sample) => taste.utility(world.decode(sample))),
            rootUtilities,
          ),
          kl: Math.log(n) - (n - 1) / n,
          meanLength: mean(best.map(({ responseIds }) => responseIds.length)),
        };
      }),
    };
  } finally {
    await ranker.close();
  }
}

/** The index of the best of the first n of each group of `size` scores. */
export function pickBest(scores: readonly number[], size: number, n: number): number[] {
  return Array.from({ length: scores.length / size }, (_, group) => {
    const candidates = scores.slice(group * size, group * size + n);
    return group * size + candidates.indexOf(Math.max(...candidates));
  });
}

type RatedPairs = { train: Sides[]; heldOut: Sides[] };
type Sides = Pick<TrainPair, 'chosen' | 'rejected'>;
type OpenRanker = { score(sequences: Sequence[]): Promise<number[]>; close(): Promise<void> };

async function trainRanker(world: World, spec: BestOfSpec, rated: RatedPairs): Promise<OpenRanker> {
  const { learningRate, seed, ranker } = spec;
  if (ranker !== 'log_ratio') {
    const reward = await trainOnlineReward(world, rated, { reward_loss: ranker, learningRate, seed });
    return { score: (sequences) => scoreRewards(reward, sequences), close: () => reward.close() };
  }
  const { architecture, weights, threads } = world.shared;
  const method = listMethods().find((method) => describeMethod(method) === 'dpo sum β 0.1 root')!;
  const policy = await openEngine({ architecture, weights, objective: toObjective(method), threads });
  const pairs = {
    train: await addReference(world.root, rated.train),
    heldOut: await addReference(world.root, rated.heldOut),
  };
  await trainRound(world, policy, { ...method, learningRate }, 1000 * seed, pairs);
  return { score: (sequences) => scoreLogRatios(policy, world.root, sequences), close: () => policy.close() };
}
