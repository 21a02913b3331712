// Stages 4 and 5: the trained policy evaluated on held-out pairs and on its own samples, and the gate. Everything
// that the gate decides by is written to the round, so that a refusal can be explained.
import { rm } from 'node:fs/promises';
import { listErasedAncestors } from '../../shared/erasure/learners.ts';
import { readCheckpoint } from '../../shared/model/checkpoint.ts';
import type { Engine, TrainPair } from '../engine/engine.ts';
import { type Evaluation, evaluatePolicy, evaluateSamples, type SampleEvaluation } from '../evaluation/evaluation.ts';
import { compareByRound } from '../evaluation/forgetting.ts';
import { decideGate, findNonFinite, type GateDecision } from '../evaluation/gate.ts';
import { keepFinite } from './log.ts';
import { logForgetting } from './messages.ts';
import { openPolicyEngine } from './policy-engine.ts';
import type { RoundContext } from './round-context.ts';
import type { PlannedSelection } from './round-plan.ts';

export type CandidateEvaluation = {
  evaluation: Evaluation;
  /** null if the policy diverged: it cannot be sampled from. */
  samples: SampleEvaluation | null;
  metrics: Record<string, number>;
};

/** The active policy where it is not the parent, which the training evaluates itself. */
export async function evaluateBaseline(
  context: RoundContext,
  selection: PlannedSelection,
  heldOut: TrainPair[],
): Promise<Evaluation | null> {
  const { parent, baseline } = selection;
  if (baseline.id === parent.id) return null;
  const { log, config } = context;
  log.reportProgress('scoring', 0, 0, `evaluating the active policy ${baseline.id} on held-out pairs`);
  const engine = await openPolicyEngine(context, selection, baseline.id, 'score');
  try {
    return await evaluatePolicy(engine, heldOut, config.seed, (done, total) =>
      log.reportProgress('scoring', done, total, 'held-out pairs'),
    );
  } finally {
    await engine.close();
  }
}

/** `steps`: the number of steps that the engine has trained. */
export async function evaluateCandidate(
  context: RoundContext,
  selection: PlannedSelection,
  engine: Engine,
  heldOut: TrainPair[],
  steps: number,
): Promise<CandidateEvaluation> {
  const { log, config } = context;
  await log.enterStage('evaluating', 'evaluating on held-out pairs and on its own samples');
  const evaluation = await evaluatePolicy(engine, heldOut, config.seed, (done, total) =>
    log.reportProgress('evaluating', done, total, 'held-out pairs'),
  );
  // The models that sample take the place of gradient and moments.
  await engine.endTraining();
  const samples = findNonFinite(evaluation) ? null : await sampleCandidate(context, selection, engine);
  const metrics = keepFinite({ ...evaluation.metrics, ...samples?.metrics });
  await log.addMetrics(steps, 'held_out', metrics, evaluation.logps);
  return { evaluation, samples, metrics };
}

/** Compares baseline and candidate on the held-out pairs of earlier rounds, and warns of those that were forgotten. */
export async function reportForgetting(
  { log, config }: RoundContext,
  baseline: Evaluation,
  { evaluation }: CandidateEvaluation,
  learnedIn: (string | null)[],
): Promise<void> {
  if (findNonFinite(evaluation)) return;
  const earlierRounds = compareByRound(baseline, evaluation, learnedIn, config.seed);
  await log.update({ earlier_rounds: earlierRounds });
  if (earlierRounds.length > 0) await logForgetting(log, earlierRounds);
}

/**
 * Decides whether the candidate may replace the baseline, and writes the metrics, in which parent/ means the baseline, and
 * the report of the gate.
 */
export async function applyGate(
  { log, config, trainer }: RoundContext,
  baseline: Evaluation,
  { evaluation, samples, metrics }: CandidateEvaluation,
): Promise<GateDecision> {
  const options = { seed: config.seed, heldOutShare: trainer.settings.TRAIN_HELD_OUT };
  const decision = decideGate(baseline, evaluation, samples, config, options);
  const { pass, checks, reason } = decision;
  await log.update({
    metrics: { ...addPrefix('parent/', keepFinite({ ...baseline.metrics, ...samples?.baseline })), ...metrics },
    reason,
    gate: { pass, checks, intervals: { ...addPrefix('parent/', baseline.intervals), ...evaluation.intervals } },
  });
  await log.addEvent('message', reason, { pass }, pass ? 'info' : 'warn');
  return decision;
}

/**
 * Whether an operator may still choose a candidate that the gate refused: it is from the root, has no other fault than that
 * it is not better, and would replace a policy that learned what was erased since.
 */
export async function mayReplaceErased(
  { log }: RoundContext,
  { isFromRoot, baseline }: PlannedSelection,
  { checks }: GateDecision,
): Promise<boolean> {
  if (!isFromRoot || checks.some(({ name, pass }) => !pass && name !== 'improvement')) return false;
  return (await listErasedAncestors(log.db, baseline.id)).size > 0;
}

async function sampleCandidate(
  context: RoundContext,
  selection: PlannedSelection,
  engine: Engine,
): Promise<SampleEvaluation> {
  const { settings, store } = context.trainer;
  const folder = `${context.checkpointFolder}-samples`;
  const { requests, rows } = selection.plan.rollouts!;
  try {
    return await evaluateSamples({
      architecture: selection.architecture,
      requests,
      rows,
      engine,
      readBaseline: async () => (await readCheckpoint(await store.getFolder(selection.baseline.id))).weights,
      openRoot: () => openPolicyEngine(context, selection, selection.rootId, 'score'),
      seed: context.config.seed,
      threads: settings.TRAIN_THREADS,
      folder,
      onProgress: (done, total) => context.log.reportProgress('evaluating', done, total, 'samples'),
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function addPrefix<Value>(prefix: string, values: Record<string, Value>): Record<string, Value> {
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [prefix + key, value]));
}
