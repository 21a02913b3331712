// What a round will count, and how much there is to compute of each: the positions of forward passes.

import type { PolicyRow } from '../../shared/store/registry.ts';
import type { PlannedSelection, SamplingPlan } from './round-plan.ts';
import { countWork } from './time-estimate.ts';
import type { Part } from './time-left.ts';

/** Forward and backward, and the weights' gradients. */
const STEP_FACTOR = 3;
/** A step of decoding reads all weights, however few its rows: as long as so many positions of a forward pass, and so many a row. */
const DECODING_STEP = 30;
const DECODING_ROW = 2;
/** To read or write a model and build its graph. */
const MODEL = 1500;
/** The report of a precision decodes as many steps with two graphs; see shared/publish/precision-report.ts. */
const PRECISION_STEPS = 2 * 64;

/** In the order in which a round counts them. */
export function listParts({ method, plan, parent, baseline }: PlannedSelection, epochs: number): Part[] {
  const { train, heldOut, steps, evaluations, samples, rollouts, klRollouts } = plan;
  const forward = (pairs: typeof train) => countWork(plan, pairs);
  const decode = ({ requests, rows }: SamplingPlan) => {
    const tokens = requests.reduce((sum, { maxTokens }) => sum + maxTokens, 0);
    return MODEL + (DECODING_STEP / rows + DECODING_ROW) * tokens;
  };
  const evaluated = forward(heldOut);
  const trained = STEP_FACTOR * epochs * steps.reduce((sum, step) => sum + forward(step), 0);
  const measured = klRollouts ? (evaluations.count - 1) * (decode(klRollouts) + MODEL) : 0;
  const training = trained + evaluations.count * forward(heldOut.slice(0, evaluations.pairs)) + measured;
  // The weights and the first graph, and for each precision its graph and what it is compared with.
  const precision = [MODEL, MODEL + PRECISION_STEPS * (DECODING_STEP + DECODING_ROW)];
  const precisions = Array.from({ length: countPrecisions(parent) }, () => precision);
  const writings = method === 'dil' ? [MODEL, MODEL, ...precisions.flat()] : [MODEL, MODEL];
  const parts: (Part | false)[] = [
    method === 'dil' && { stage: 'scoring', work: samples ? evaluated : forward(train) + evaluated },
    samples !== null && { stage: 'sampling', work: decode(samples) },
    // By the reference and by the reward.
    samples !== null && { stage: 'scoring', work: forward(train) },
    samples !== null && { stage: 'scoring', work: forward(train) + evaluated },
    parent.id !== baseline.id && { stage: 'scoring', work: evaluated },
    method === 'dil' && { stage: 'training', work: evaluated },
    { stage: 'training', work: training },
    { stage: 'evaluating', work: evaluated },
    rollouts !== null && { stage: 'evaluating', work: 2 * decode(rollouts) + MODEL },
    ...writings.map((work) => ({ stage: 'publishing' as const, work })),
  ];
  return parts.filter((part) => part !== false);
}

/** Those that its import or round has compared with float32. */
function countPrecisions({ manifest }: PolicyRow): number {
  const { serving } = manifest as { serving?: { accuracy?: object } };
  return Math.max(1, Object.keys(serving?.accuracy ?? {}).length - 1);
}
