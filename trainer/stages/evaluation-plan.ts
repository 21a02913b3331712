// What is evaluated, so that evaluation takes at most a fifth of a round. Counted in tokens of a forward pass, not in
// seconds: the same round has the same plan on every machine, and a resumed one the plan that it began with.
import type { RoundMethod } from '../../shared/database/round-types.ts';
import type { Sequence } from '../engine/engine.ts';
import { countInputTokens } from '../engine/packing.ts';

/** Of the round's training and evaluation; scoring is left out, because a reference may have scored all pairs before. */
const MAX_EVALUATION_SHARE = 0.2;
/** A step's token has a forward and a backward pass; a sampled token costs about as much. */
const STEP_COST = 3;
const DECODE_COST = 3;
/** At EFFORT 1. */
const EVALUATIONS = 4;
const SAMPLES = 64;
/** Fewer say nothing. */
const MIN_PAIRS = 16;
const MIN_SAMPLES = 16;
/** For the KL during training: a rough estimate (docs/LOG.md), because they cost up to a twentieth more. */
const KL_SAMPLES = 8;

type PairSequences = { chosen: Sequence; rejected: Sequence };

export type EvaluationPlan = {
  /** Evaluations during training. */
  count: number;
  /** The first of the held-out pairs that each of them evaluates. */
  pairs: number;
  /** Responses that baseline and candidate give each; a reward gives none. */
  samples: number;
  /** Responses for the KL at each evaluation but the last, at whose step the gate measures it. */
  klSamples: number;
};

type EvaluationOptions = {
  train: PairSequences[];
  heldOut: PairSequences[];
  config: { epochs: number; effort: number };
  /** Default: dil. */
  method?: RoundMethod;
};

/**
 * The gate needs every held-out pair before and after training, and MIN_SAMPLES samples. Half of what is left goes to more
 * samples, the rest to evaluations during training: fewer pairs first, then fewer evaluations, possibly none.
 */
export function planEvaluations(
  { train, heldOut, config, method = 'dil' }: EvaluationOptions,
  steps: number,
): EvaluationPlan {
  if (heldOut.length === 0) return { count: 0, pairs: 0, samples: 0, klSamples: 0 };
  const trainCost = STEP_COST * countTokens(train) * config.epochs;
  const pairCost = countTokens(heldOut) / heldOut.length;
  const left = (MAX_EVALUATION_SHARE / (1 - MAX_EVALUATION_SHARE)) * trainCost - 2 * heldOut.length * pairCost;

  const sampleCost = estimateSampleCost(heldOut);
  const affordableSamples = Math.floor(left / 2 / sampleCost);
  const samples =
    method === 'reward' ? 0 : Math.max(MIN_SAMPLES, Math.min(Math.round(SAMPLES * config.effort), affordableSamples));

  const affordablePairs = Math.max(0, Math.floor((left - samples * sampleCost) / pairCost));
  const minPairs = Math.min(MIN_PAIRS, heldOut.length);
  const wanted = Math.min(steps, Math.ceil(EVALUATIONS * config.effort));
  const count = Math.min(wanted, Math.floor(affordablePairs / minPairs));
  const pairs = Math.max(minPairs, Math.floor(affordablePairs / Math.max(1, count)));
  // The last evaluation has that of the gate.
  const klSamples = count > 1 ? Math.min(KL_SAMPLES, samples) : 0;
  return { count, pairs: Math.min(pairs, heldOut.length), samples, klSamples };
}

/** The steps after which evaluations take place, evenly up to the last one. */
export function spreadEvaluations(count: number, steps: number): Set<number> {
  return new Set(Array.from({ length: count }, (_, at) => Math.round(((at + 1) * steps) / count)));
}

/** Two policies answer a prompt, and one of the responses is scored by two. */
function estimateSampleCost(pairs: PairSequences[]): number {
  const mean = (count: (pair: PairSequences) => number) =>
    pairs.reduce((sum, pair) => sum + count(pair), 0) / pairs.length;
  const prompt = mean(({ chosen }) => chosen.promptIds.length);
  const response = mean(({ chosen, rejected }) => (chosen.responseIds.length + rejected.responseIds.length) / 2);
  return 2 * (prompt + DECODE_COST * response) + 2 * (prompt + response);
}

function countTokens(pairs: PairSequences[]): number {
  return pairs.reduce((sum, { chosen, rejected }) => sum + countInputTokens(chosen) + countInputTokens(rejected), 0);
}
