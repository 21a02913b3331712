// A round by Attune's engine, in the order of trainer/round.ts: the reference scores every pair once, held-out pairs are
// evaluated before and after one epoch. Without Postgres and HTTP, which a round waits for less than for one step.
import { readCheckpoint } from '../../../shared/model/checkpoint.ts';
import { openEngine } from '../../../trainer/engine/open-engine.ts';
import { type Pair, toTrainPair } from '../train-pairs.ts';
import type { RoundOutcome, RoundPlan } from '../train-round.ts';
import { watchOthers } from './others.ts';
import { answer } from './program.ts';

answer(async (plan: RoundPlan): Promise<Omit<RoundOutcome, 'peakBytes'>> => {
  const loadSeconds = performance.now() / 1000;
  const endWatch = watchOthers([process.pid]);
  const { architecture, weights } = await readCheckpoint(plan.source);
  // The loss of TRL's default.
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
  const before = await policy.evaluate(heldOut);
  for (let at = 0; at < plan.pairs.train.length; at += plan.batchPairs)
    await policy.step(scored.slice(at, Math.min(at + plan.batchPairs, plan.pairs.train.length)), plan.learningRate);
  const after = await policy.evaluate(heldOut);
  await policy.close();
  const seconds = performance.now() / 1000 - loadSeconds;
  return { seconds, before: before.loss, after: after.loss, loadSeconds, others: endWatch() };
});
