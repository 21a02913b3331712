// How long a round will take on this machine: a few runs of the policy are timed, and multiplied by what the round will
// compute.
import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { readCheckpoint } from '../../shared/model/checkpoint.ts';
import { readManifest } from '../../shared/package/files.ts';
import { NO_REFERENCE, type TrainPair } from '../engine/engine.ts';
import { estimateAttentionCost } from '../engine/packing.ts';
import { sampleResponses } from '../evaluation/rollouts.ts';
import { SAVE_INTERVAL_MS } from '../training.ts';
import { measureDecoding, measureEngine } from './measure-speed.ts';
import { openNewRewardEngine, openPolicyEngine } from './policy-engine.ts';
import type { RoundContext } from './round-context.ts';
import {
  type PairSequences,
  type PlannedSelection,
  planPairs,
  type RoundPlan,
  type SamplingPlan,
} from './round-plan.ts';

/** The report of a precision decodes this many steps with two graphs; see shared/publish/precision-report.ts. */
const PRECISION_STEPS = 64;

/**
 * Seconds of each stage. `missing`: the pairs that the reference has not scored yet; `onRun` is called before what takes long,
 * and may throw.
 */
export async function estimateTime(
  context: Pick<RoundContext, 'trainer' | 'config'>,
  selection: PlannedSelection,
  missing: PairSequences[],
  onRun: () => void = () => {},
): Promise<Record<string, number>> {
  const { trainer, config } = context;
  const { architecture, method, parent, baseline, parentFolder, plan } = selection;
  const { train, heldOut, steps, evaluations, samples, rollouts, klRollouts } = plan;
  const { ATTUNE_HOME, TRAIN_THREADS: threads } = trainer.settings;
  const workOf = (pairs: PairSequences[]) => countWork(plan, pairs);
  const typical = steps.toSorted((a, b) => workOf(a) - workOf(b))[steps.length >> 1]!;

  const folder = await mkdtemp(path.join(path.resolve(ATTUNE_HOME), 'estimate-'));
  const keepOnSignal = removeOnSignal(folder);
  try {
    const open = () =>
      method === 'reward'
        ? openNewRewardEngine(context, selection)
        : openPolicyEngine(context, selection, parent.id, 'train');
    const batch = typical.map((pair) => (method === 'reward' ? { ...pair, ...NO_REFERENCE } : withoutReference(pair)));
    onRun();
    const engine = await measureEngine(open, batch, folder);
    const forward = (pairs: PairSequences[]) => (engine.evaluate * workOf(pairs)) / workOf(typical);
    const score = (pairs: PairSequences[]) => (pairs.length === 0 ? 0 : engine.opening + forward(pairs));
    const epoch = (engine.step * steps.reduce((sum, step) => sum + workOf(step), 0)) / workOf(typical);
    const minutes = (epoch * config.epochs) / (SAVE_INTERVAL_MS / 1000);
    const { count, pairs } = evaluations;
    const training =
      engine.opening +
      engine.building +
      epoch * config.epochs +
      count * forward(heldOut.slice(0, pairs)) +
      (minutes + Math.max(0, count - 1)) * engine.save;
    if (rollouts === null) return { training, evaluating: forward(heldOut), publishing: 2 * engine.opening };

    const readWeights = async () => (await readCheckpoint(parentFolder)).weights;
    const { rows, requests } = rollouts;
    const sampler = { architecture, readWeights, folder, seed: config.seed, threads, rows };
    const sampleTimed = (timed: typeof requests) => {
      onRun();
      return sampleResponses(sampler, timed);
    };
    const decoding = await measureDecoding(sampleTimed, requests.slice(0, rows));
    // Responses are taken to be about as long as one side of a held-out pair, and rows to cost the same in groups of any size.
    const group = decoding.prefill + meanResponseLength(heldOut) * decoding.step;
    const sample = (plan: SamplingPlan) => decoding.opening + (plan.requests.length / rows) * group;
    // Both score what was sampled, and the root is opened for it.
    const scoreSamples = (count: number) => (forward(heldOut) * count) / heldOut.length;
    const measureKl = klRollouts ? sample(klRollouts) + engine.opening + scoreSamples(klRollouts.requests.length) : 0;
    const precisions = Object.keys((await readManifest(parentFolder)).serving.accuracy).length;
    return {
      // The reference and the reward score what a distillation has sampled, and the reward the held-out pairs. A round from
      // the root evaluates the active policy too.
      scoring:
        score(missing) +
        (samples ? score(train) + score([...train, ...heldOut]) : 0) +
        (parent.id === baseline.id ? 0 : score(heldOut)),
      // Baseline and candidate give the gate its samples.
      sampling: (samples ? sample(samples) : 0) + 2 * sample(rollouts),
      training: training + forward(heldOut) + Math.max(0, count - 1) * measureKl,
      // The samples are scored by the candidate and by the root.
      evaluating: forward(heldOut) + 2 * engine.opening + scoreSamples(requests.length),
      publishing: 2 * decoding.opening + precisions * (decoding.opening + PRECISION_STEPS * decoding.step),
    };
  } finally {
    keepOnSignal();
    await rm(folder, { recursive: true, force: true });
  }
}

/** Ctrl-C ends the process before a `finally` runs. Returns a function that undoes this. */
function removeOnSignal(folder: string): () => void {
  const signals = ['SIGINT', 'SIGTERM'] as const;
  const undo = () => {
    for (const signal of signals) process.off(signal, end);
  };
  const end = (signal: NodeJS.Signals) => {
    undo();
    rmSync(folder, { recursive: true, force: true });
    process.kill(process.pid, signal);
  };
  for (const signal of signals) process.on(signal, end);
  return undo;
}

/** Time is proportional to this: the positions of the micro-batches, with their attention. */
export function countWork(plan: RoundPlan, pairs: PairSequences[]): number {
  const attentionCost = estimateAttentionCost(plan.trained.architecture);
  return planPairs(plan, pairs).reduce((sum, { S, T }) => sum + S * T * (1 + attentionCost * T), 0);
}

function withoutReference(pair: PairSequences): TrainPair {
  const zeros = (count: number) => new Float32Array(count);
  return {
    ...pair,
    refChosenLogps: zeros(pair.chosen.responseIds.length),
    refRejectedLogps: zeros(pair.rejected.responseIds.length),
  };
}

function meanResponseLength(pairs: PairSequences[]): number {
  const tokens = pairs.reduce(
    (sum, { chosen, rejected }) => sum + chosen.responseIds.length + rejected.responseIds.length,
    0,
  );
  return tokens / (2 * pairs.length);
}
