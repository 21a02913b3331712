// One round of Direct Imitation Learning (arXiv 2503.05079) over pairs of preferences: the policy is trained from its
// parent, by log-ratios to the frozen reference, and is tried against the active policy, or replaces it, only if the gate finds
// it better. The active policy, the baseline, is the parent itself, unless the round trains from the root.

import { distillPairs } from './stages/distill-pairs.ts';
import {
  applyGate,
  evaluateBaseline,
  evaluateCandidate,
  mayReplaceErased,
  reportForgetting,
} from './stages/evaluate-candidate.ts';
import { openPolicyEngine } from './stages/policy-engine.ts';
import { offerCandidate, publishCandidate, releaseCandidate } from './stages/publish-candidate.ts';
import type { RoundContext } from './stages/round-context.ts';
import { scorePairs } from './stages/score-pairs.ts';
import { selectPairs } from './stages/select-pairs.ts';
import { trainCandidate } from './stages/train.ts';

/** Runs the round to its end. Throws AttuneError if it cannot be run; the caller marks it failed. */
export async function runRound(context: RoundContext): Promise<void> {
  const selection = await selectPairs(context);
  const preparePairs = context.config.objective === 'distill' ? distillPairs : scorePairs;
  const { train, heldOut, learnedIn } = await preparePairs(context, selection);
  const active = await evaluateBaseline(context, selection, heldOut);
  const engine = await openPolicyEngine(context, selection, selection.parent.id, 'train');
  try {
    const { parent, steps } = await trainCandidate(context, selection, engine, train, heldOut);
    const candidate = await evaluateCandidate(context, selection, engine, heldOut, steps);
    const baseline = active ?? parent;
    await reportForgetting(context, baseline, candidate, learnedIn);
    const decision = await applyGate(context, baseline, candidate);
    const { pass, reason } = decision;
    if (!pass && !(await mayReplaceErased(context, selection, decision)))
      return await context.log.finish('refused', reason);
    const policy = await publishCandidate(context, selection, engine, heldOut, candidate.metrics);
    const { log, trainer } = context;
    if (pass) await releaseCandidate(log, trainer.settings, policy, selection.baseline.id, reason);
    else await offerCandidate(log, policy, selection.baseline.id, reason);
  } finally {
    await engine.close();
  }
}
