// One round with Attune's engine, in the order of trainer/round.ts: the reference scores every pair once, held-out pairs are
// evaluated before and after one epoch. Without Postgres and HTTP, which take less time than one step.
import { readCheckpoint } from '../../../shared/model/checkpoint.ts';
import { openEngine } from '../../../trainer/engine/open-engine.ts';
import { type Pair, toTrainPair } from '../train-pairs.ts';
import type { RoundOutcome, RoundPlan } from '../train-round.ts';
import { handleTrainingPlan, measureOtherCores } from './peer.ts';

handleTrainingPlan(async (plan: RoundPlan): Promise<Omit<RoundOutcome, 'peakBytes'>> => {
  const loadSeconds = performance.now() / 1000;
  const stopMeasuring = measureOtherCores([process.pid]);
  const { architecture, weights } = await readCheckpoint(plan.source);
  // TRL's default loss.
  const objective = { objective: 'dpo', reduction: 'sum', beta: 0.1 } as const;
  const open = () => openEngine({ architecture, weights, objective, threads: plan.threads });

  const reference = await open();
  const pairs = [...plan.pairs.train, ...plan.pairs.heldOut];
  const scores = await reference.score(
    pairs.flatMap(({ prompt, chosen, rejected }) =>
      [chosen, rejected].map((responseIds) => ({ promptIds: prompt, responseIds })),
    ),
  );
  await reference.close();
  const scored = pairs.map((pair: Pair, at) => {
    return toTrainPair(pair, { chosen: [...scores[2 * at]!], rejected: [...scores[2 * at + 1]!] });
  });
  const heldOut = scored.slice(plan.pairs.train.length);

  const policy = await open();
  const evaluationBefore = await policy.evaluate(heldOut);
  for (let at = 0; at < plan.pairs.train.length; at += plan.batchPairs)
    await policy.step(scored.slice(at, Math.min(at + plan.batchPairs, plan.pairs.train.length)), plan.learningRate);
  const evaluationAfter = await policy.evaluate(heldOut);
  await policy.close();
  const seconds = performance.now() / 1000 - loadSeconds;
  return {
    seconds,
    lossBefore: evaluationBefore.loss,
    lossAfter: evaluationAfter.loss,
    loadSeconds,
    otherCores: stopMeasuring(),
  };
});
