// A round of the method reward, the first of the paper's two stages: the body of the active policy with a scalar head is
// trained on all strict preferences (Eq. 3 or 21) and published with its accuracy. No gate and no activation: nothing is
// served by it, and the pairs stay new.

import { NO_REFERENCE, type TrainPair } from './engine/engine.ts';
import { evaluateReward } from './stages/evaluate-reward.ts';
import { openNewRewardEngine } from './stages/policy-engine.ts';
import { finishReward, publishReward } from './stages/publish-reward.ts';
import type { RoundContext } from './stages/round-context.ts';
import { selectPairs } from './stages/select-pairs.ts';
import type { Selection } from './stages/selection.ts';
import { trainReward } from './stages/train.ts';

/** Runs the round to its end. Throws AttuneError if it cannot be run; the caller marks it failed. */
export async function runRewardRound(context: RoundContext): Promise<void> {
  const selection = await selectPairs(context);
  const [train, heldOut] = [toPairs(selection, 'train'), toPairs(selection, 'held_out')];
  const engine = await openNewRewardEngine(context, selection);
  try {
    const { steps } = await trainReward(context, selection, engine, train, heldOut);
    const evaluation = await evaluateReward(context, engine, heldOut, steps);
    const reward = await publishReward(context, selection, engine, heldOut, evaluation);
    await finishReward(context.log, reward, evaluation.reason);
  } finally {
    await engine.close();
  }
}

function toPairs({ pairs }: Selection, split: 'train' | 'held_out'): TrainPair[] {
  return pairs.flatMap(({ pair, tokens: { chosen, rejected }, weight }) =>
    pair.split === split ? [{ chosen, rejected, weight, ...NO_REFERENCE }] : [],
  );
}
