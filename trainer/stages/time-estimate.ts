// How long a round will take on this machine: a few runs of the policy are timed, and multiplied by what the round will
// compute.
import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { readCheckpoint } from '../../shared/model/checkpoint.ts';
import { readManifest } from '../../shared/package/files.ts';
import type { TokenizedPair } from '../data/tokens.ts';
import type { TrainPair } from '../engine/engine.ts';
import { estimateAttentionCost } from '../engine/packing.ts';
import { sampleResponses } from '../evaluation/rollouts.ts';
import { SAVE_INTERVAL_MS } from '../training.ts';
import { measureDecoding, measureEngine } from './measure-speed.ts';
import { openPolicyEngine } from './policy-engine.ts';
import type { RoundContext } from './round-context.ts';
import { planPairs, type RoundPlan } from './round-plan.ts';
import type { Selection } from './select-pairs.ts';

/** Seconds. */
export type TimeEstimate = Record<'scoring' | 'training' | 'evaluating' | 'publishing', number>;

/** The report of a precision decodes this many steps with two graphs; see shared/publish/precision-report.ts. */
const PRECISION_STEPS = 64;

/** `missing`: the pairs that the reference has not scored yet. */
export async function estimateTime(
  context: Pick<RoundContext, 'trainer' | 'config'>,
  selection: Selection,
  plan: RoundPlan,
  missing: TokenizedPair[],
): Promise<TimeEstimate> {
  const { trainer, config } = context;
  const { architecture, parent, baseline, parentFolder } = selection;
  const { heldOut, steps, evaluations, requests, rows } = plan;
  const { ATTUNE_HOME, TRAIN_THREADS: threads } = trainer.settings;
  const workOf = (pairs: TokenizedPair[]) => countWork(plan, pairs);
  const typical = steps.toSorted((a, b) => workOf(a) - workOf(b))[steps.length >> 1]!;

  const folder = await mkdtemp(path.join(path.resolve(ATTUNE_HOME), 'estimate-'));
  const keepOnSignal = removeOnSignal(folder);
  try {
    const open = () => openPolicyEngine(context, selection, parent.id, 'train');
    const engine = await measureEngine(open, typical.map(withoutReference), folder);
    const readWeights = async () => (await readCheckpoint(parentFolder)).weights;
    const sampler = { architecture, readWeights, folder, seed: config.seed, threads, rows };
    const decoding = await measureDecoding((timed) => sampleResponses(sampler, timed), requests.slice(0, rows));

    const forward = (pairs: TokenizedPair[]) => (engine.evaluate * workOf(pairs)) / workOf(typical);
    const epoch = (engine.step * steps.reduce((sum, step) => sum + workOf(step), 0)) / workOf(typical);
    const minutes = (epoch * config.epochs) / (SAVE_INTERVAL_MS / 1000);
    const count = evaluations.evaluationSteps.size;
    const group = decoding.prefill + meanResponseLength(heldOut) * decoding.step;
    const sampling = decoding.opening + (requests.length / rows) * group;
    const precisions = Object.keys((await readManifest(parentFolder)).serving.accuracy).length;
    const score = (pairs: TokenizedPair[]) => (pairs.length === 0 ? 0 : engine.opening + forward(pairs));
    return {
      // A round from the root evaluates the active policy too.
      scoring: score(missing) + (parent.id === baseline.id ? 0 : score(heldOut)),
      training:
        engine.opening +
        engine.building +
        epoch * config.epochs +
        forward(heldOut) +
        count * forward(evaluations.pairs) +
        (minutes + Math.max(0, count - 1)) * engine.save,
      // Two policies are sampled from; the samples are about as long as one side of a held-out pair, and are scored twice.
      evaluating:
        forward(heldOut) + 2 * engine.opening + 2 * sampling + (forward(heldOut) * requests.length) / heldOut.length,
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
function countWork(plan: RoundPlan, pairs: TokenizedPair[]): number {
  const attentionCost = estimateAttentionCost(plan.memory.architecture);
  return planPairs(plan, pairs).reduce((sum, { S, T }) => sum + S * T * (1 + attentionCost * T), 0);
}

function withoutReference(pair: TokenizedPair): TrainPair {
  const zeros = (count: number) => new Float32Array(count);
  return {
    ...pair,
    refChosenLogps: zeros(pair.chosen.responseIds.length),
    refRejectedLogps: zeros(pair.rejected.responseIds.length),
  };
}

function meanResponseLength(pairs: TokenizedPair[]): number {
  const tokens = pairs.reduce(
    (sum, { chosen, rejected }) => sum + chosen.responseIds.length + rejected.responseIds.length,
    0,
  );
  return tokens / (2 * pairs.length);
}
