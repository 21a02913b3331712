// The paper's two stages on a space of responses that can be enumerated: a reward is fitted to simulated raters (Eq. 3),
// then distilled into the policy by its own samples (Eq. 13, 14). The optimum, π_ref e^(r/β) / Z, is known.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seedRandom } from '../shared/decoder/random.ts';
import { createRaterTask, klDivergence, type RaterTask, tiltedDistribution } from '../tools/evidence/raters.ts';
import { type Engine, NO_REFERENCE, type TrainPair } from './engine/engine.ts';
import { openEngine } from './engine/open-engine.ts';
import { addRewardHead } from './model/reward-head.ts';
import { parseRewardObjective } from './objectives.ts';

const BETA = 0.5;
const BATCH = 32;
const task = await createRaterTask({ vocabSize: 5, responseTokens: 2, prompts: 3, rewardStd: 1 });
const random = seedRandom(3, 0);

function draw(distribution: number[]): number {
  let rest = random();
  const index = distribution.findIndex((p) => {
    rest -= p;
    return rest < 0;
  });
  return index < 0 ? distribution.length - 1 : index;
}

/** Pairs of two responses of `policies` to a prompt, in an order by `isFirstBetter`. */
function drawPairs(
  policies: number[][],
  toPair: (prompt: RaterTask['prompts'][number], at: number, y: number, z: number) => TrainPair,
): TrainPair[] {
  return Array.from({ length: BATCH }, () => {
    const at = Math.floor(random() * task.prompts.length);
    return toPair(task.prompts[at]!, at, draw(policies[at]!), draw(policies[at]!));
  });
}

/** By prompt: the score of every response, summed over its tokens. */
async function scoreAll(engine: Engine): Promise<number[][]> {
  const results: number[][] = [];
  for (const { sequences } of task.prompts)
    results.push((await engine.score(sequences)).map((logps) => logps.reduce((sum, logp) => sum + logp, 0)));
  return results;
}

const toProbabilities = (logps: number[][]) => logps.map((prompt) => prompt.map(Math.exp));

async function fitReward(): Promise<number[][]> {
  const reward = addRewardHead(task);
  const objective = parseRewardObjective({ reward_loss: 'bradley_terry', negatives: 'rejected' });
  const engine = await openEngine({ ...reward, objective, threads: 1, microBatchTokens: 4096 });
  try {
    const references = task.prompts.map(({ reference }) => reference);
    for (let step = 0; step < 300; step++)
      await engine.step(
        drawPairs(references, ({ sequences }, at, y, z) => {
          const rewards = task.rewards[at]!;
          const isFirstBetter = random() < 1 / (1 + Math.exp(rewards[z]! - rewards[y]!));
          const [chosen, rejected] = isFirstBetter ? [y, z] : [z, y];
          return { chosen: sequences[chosen]!, rejected: sequences[rejected]!, ...NO_REFERENCE };
        }),
        3e-3,
      );
    return await scoreAll(engine);
  } finally {
    await engine.close();
  }
}

/** Mean over prompts of KL(policy ‖ π_ref e^(r/β) / Z). */
function distance(policies: number[][], rewards: number[][]): number {
  const each = policies.map((policy, at) =>
    klDivergence(policy, tiltedDistribution(task.prompts[at]!.reference, rewards[at]!, BETA)),
  );
  return each.reduce((sum, kl) => sum + kl, 0) / each.length;
}

test('a fitted reward, distilled by samples of the policy, gives the optimum of the raters’ reward', async () => {
  const rewards = await fitReward();
  const objective = { objective: 'distill', reduction: 'sum', negatives: 'rejected', beta: BETA } as const;
  const { architecture, weights } = task;
  const engine = await openEngine({ architecture, weights, objective, threads: 1, microBatchTokens: 4096 });
  try {
    const start = toProbabilities(await scoreAll(engine));
    let policies = start;
    for (let round = 0; round < 12; round++) {
      // As in a round: samples of the policy that the round starts from.
      policies = toProbabilities(await scoreAll(engine));
      for (let step = 0; step < 20; step++)
        await engine.step(
          drawPairs(policies, ({ sequences, refLogps }, at, y, z) => ({
            chosen: sequences[y]!,
            rejected: sequences[z]!,
            refChosenLogps: refLogps[y]!,
            refRejectedLogps: refLogps[z]!,
            rewardMargin: rewards[at]![y]! - rewards[at]![z]!,
          })),
          2e-3,
        );
    }
    policies = toProbabilities(await scoreAll(engine));
    const [before, fitted, known] = [
      distance(start, task.rewards),
      distance(policies, rewards),
      distance(policies, task.rewards),
    ];
    assert.ok(before > 0.5, `${before}`);
    assert.ok(fitted < 0.05 * before, `${fitted} of ${before}`);
    // What is left is the error of the fitted reward.
    assert.ok(known < 0.2 * before, `${known} of ${before}`);
  } finally {
    await engine.close();
  }
});
