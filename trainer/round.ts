// One round of Direct Imitation Learning (arXiv 2503.05079) over pairs of preferences: the policy is trained from its
// parent, by log-ratios to the frozen reference, and replaces the active policy only if the gate finds it better. The
// active policy, the baseline, is the parent itself, unless the round trains from the root.

import { distillPairs } from './stages/distill-pairs.ts';
import {
  applyGate,
  evaluateBaseline,
  evaluateCandidate,
  mayReplaceErased,
  reportForgetting,
} from './stages/evaluate-candidate.ts';
import { openPolicyEngine } from './stages/policy-engine.ts';
import { activateCandidate, offerCandidate, publishCandidate } from './stages/publish-candidate.ts';
import type { RoundContext } from './stages/round-context.ts';
import { scorePairs } from './stages/score-pairs.ts';
import { selectPairs } from './stages/select-pairs.ts';
import { trainCandidate } from './training.ts';

/** Runs the round to its end. Throws AttuneError if it cannot be run; the caller marks it failed. */
export async function runRound(context: RoundContext): Promise<void> {
  const selection = await selectPairs(context);
  const preparePairs = context.config.objective === 'distill' ? distillPairs : scorePairs;
  const { train, heldOut, learnedIn } = await preparePairs(context, selection);
  const active = await evaluateBaseline(context, selection, heldOut);
  const engine = await openPolicyEngine(context, selection, selection.parent.id, 'train');
  try {
    const { parent, steps } = await trainCandidate(context, engine, train, heldOut, selection.plan.evaluations);
    const candidate = await evaluateCandidate(context, selection, engine, heldOut, steps);
    const baseline = active ?? parent;
    await reportForgetting(context, baseline, candidate, learnedIn);
    const decision = await applyGate(context, baseline, candidate);
    const { pass, reason } = decision;
    if (!pass && !(await mayReplaceErased(context, selection, decision)))
      return await context.log.finish('refused', reason);
    const policy = await publishCandidate(context, selection, engine, heldOut, candidate.metrics);
    await (pass ? activateCandidate : offerCandidate)(context.log, policy, selection.baseline.id, reason);
  } finally {
    await engine.close();
  }
}
