// The first of the paper's two stages inside the loop: a reward with the root's body, trained on rated pairs (Eq. 3, 21).
import path from 'node:path';
import { type Engine, NO_REFERENCE, type Sequence, type TrainPair } from '../../../trainer/engine/engine.ts';
import { openEngine } from '../../../trainer/engine/open-engine.ts';
import { addRewardHead } from '../../../trainer/model/reward-head.ts';
import { parseRewardObjective } from '../../../trainer/objectives.ts';
import { trainQuietly } from '../train-quietly.ts';
import type { RewardLoss } from './config.ts';
import type { World } from './world.ts';

type Sides = { chosen: Sequence; rejected: Sequence };

/** A head that starts at 0 needs more than one pass over a few hundred pairs. */
const EPOCHS = 3;

/** An engine that holds the trained reward; the caller closes it. */
export async function trainOnlineReward(
  world: World,
  rated: { train: Sides[]; heldOut: Sides[] },
  { reward_loss, learningRate, seed }: { reward_loss: RewardLoss; learningRate: number; seed: number },
): Promise<Engine> {
  const { architecture, weights, threads, sizes, folder } = world.shared;
  const toPairs = (pairs: Sides[]): TrainPair[] =>
    pairs.map(({ chosen, rejected }) => ({ chosen, rejected, ...NO_REFERENCE }));
  const reward = addRewardHead({ architecture, weights });
  const objective = parseRewardObjective({ reward_loss, negatives: 'both' });
  const engine = await openEngine({ ...reward, objective, threads });
  try {
    const request = { learning_rate: learningRate, epochs: EPOCHS, batch_pairs: sizes.batchPairs, seed };
    const pairs = { train: toPairs(rated.train), heldOut: toPairs(rated.heldOut) };
    await trainQuietly(engine, pairs, request, path.join(folder, `reward-${reward_loss}-${seed}`));
    return engine;
  } catch (error) {
    await engine.close();
    throw error;
  }
}

/** r(x, y) of each sequence. */
export async function scoreRewards(reward: Engine, sequences: Sequence[]): Promise<number[]> {
  return (await reward.score(sequences)).map(([value]) => value!);
}
