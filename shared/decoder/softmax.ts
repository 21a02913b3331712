// One row's logits as unnormalized softmax weights exp((logit − peak) / temperature). They are relative to the largest
// logit, whose weight is 1, because a bias of 100 at a temperature of 0.01 must not overflow. Most of a vocabulary weighs
// almost nothing: tokens far below the peak are skipped while a bound on their weight shows that they cannot matter.
import { argmax, quickselectTop, selectAtLeast, selectTopUntil } from './top-k.ts';

/** Tokens are near the peak if their weight is at least exp(-9). */
const NEAR_LOGIT_GAP = 9;
/** The relative error that a log-sum-exp in single precision may have: many times its rounding error. */
const LOG_SUM_EXP_TOLERANCE = 1e-4;

export type ScaledLogits = {
  logits: Float32Array;
  /** The largest logit. */
  peak: number;
  temperature: number;
  /** fastExp takes (logit − peak) · scale. */
  scale: number;
  /** The sum of exp(logit − peak) at temperature 1, from the graph's log-sum-exp. */
  unscaledTotal: number;
  /** The absolute error that unscaledTotal may have. */
  tolerance: number;
};

/**
 * `logNormalizer` is the log-sum-exp of the policy's logits; `originals` has the policy's logits of the tokens that bias
 * and penalties changed.
 */
export function scaleLogits(
  logits: Float32Array,
  peak: number,
  temperature: number,
  logNormalizer: number,
  originals: ReadonlyMap<number, number>,
): ScaledLogits {
  let unscaledTotal = Math.exp(logNormalizer - peak);
  const tolerance = LOG_SUM_EXP_TOLERANCE * unscaledTotal;
  for (const [token, logit] of originals) unscaledTotal += Math.exp(logits[token]! - peak) - Math.exp(logit - peak);
  return { logits, peak, temperature, scale: EXP_STEPS / temperature, unscaledTotal, tolerance };
}

export function getWeight({ logits, peak, scale }: ScaledLogits, token: number): number {
  return fastExp((logits[token]! - peak) * scale);
}

export function sumWeights(row: ScaledLogits, tokens: number[]): number {
  let total = 0;
  for (const token of tokens) total += getWeight(row, token);
  return total;
}

/** Inverse CDF: the first token at which the cumulative weight exceeds `position`; null if the total does not. */
export function findTokenAt(row: ScaledLogits, tokens: number[], position: number): number | null {
  let rest = position;
  for (const token of tokens) {
    rest -= getWeight(row, token);
    if (rest < 0) return token;
  }
  return null;
}

/** The smallest set of the most probable `tokens` whose total weight reaches `goal`. */
export function selectTopMass(row: ScaledLogits, tokens: number[], goal: number): number[] {
  return quickselectTop(tokens, row.logits, goal, (token) => getWeight(row, token));
}

/** Samples from the whole vocabulary; `uniform` is in [0, 1). */
export function sampleFromAll(row: ScaledLogits, uniform: number): number {
  const floor = row.peak - NEAR_LOGIT_GAP * row.temperature;
  const near = selectAtLeast(row.logits, floor);
  const [min, max] = boundTotalWeight(row, near);
  const token = findTokenAt(row, near, uniform * min);
  if (token !== null && token === findTokenAt(row, near, uniform * max)) return token;

  const position = uniform * sumAllWeights(row);
  let rest = position - sumWeights(row, near);
  if (rest < 0) return findTokenAt(row, near, position) ?? near.at(-1)!;
  for (let far = 0; far < row.logits.length; far++) {
    if (row.logits[far]! >= floor) continue;
    rest -= getWeight(row, far);
    if (rest < 0) return far;
  }
  // Rounding can leave a remainder after the last token.
  return near.at(-1)!;
}

/** Top-p: the smallest set of the most probable tokens with at least `topP` of the whole vocabulary's weight. */
export function selectNucleus(row: ScaledLogits, topP: number): number[] {
  const near = selectAtLeast(row.logits, row.peak - NEAR_LOGIT_GAP * row.temperature);
  const [min, max] = boundTotalWeight(row, near);
  if (sumWeights(row, near) >= topP * max) {
    const nucleus = selectTopMass(row, near, topP * min);
    if (sumWeights(row, nucleus) >= topP * max) return nucleus;
  }
  const goal = topP * sumAllWeights(row);
  const isEnough = (tokens: number[]) => sumWeights(row, tokens) >= goal;
  return selectTopMass(row, selectTopUntil(row.logits, row.peak, NEAR_LOGIT_GAP * row.temperature, isEnough), goal);
}

/**
 * Bounds on the whole vocabulary's weight, given all tokens near the peak. The other tokens' weight at temperature 1 is
 * known; at a lower temperature each weighs at most exp(-NEAR_LOGIT_GAP · (1 − temperature)) of that.
 */
function boundTotalWeight(row: ScaledLogits, near: number[]): [min: number, max: number] {
  const { logits, peak, temperature, unscaledTotal, tolerance } = row;
  const sum = sumWeights(row, near);
  if (temperature > 1) return [sum, Infinity];
  let rest = unscaledTotal;
  for (const token of near) rest -= fastExp((logits[token]! - peak) * EXP_STEPS);
  const max = sum + Math.max(0, rest + tolerance) * Math.exp(-NEAR_LOGIT_GAP * (1 - temperature));
  return [temperature === 1 ? sum + Math.max(0, rest - tolerance) : sum, max];
}

function sumAllWeights({ logits, peak, scale }: ScaledLogits): number {
  let total = 0;
  for (let token = 0; token < logits.length; token++) total += fastExp((logits[token]! - peak) * scale);
  return total;
}

/** logits [n] → log Σ exp(logit). */
export function logSumExp(logits: Float32Array): number {
  const peak = logits[argmax(logits)]!;
  let total = 0;
  for (let token = 0; token < logits.length; token++) total += fastExp((logits[token]! - peak) * EXP_STEPS);
  return peak + Math.log(total);
}

/** exp(x) = 2^(x · EXP_STEPS / 1024). */
export const EXP_STEPS = 1024 / Math.LN2;
const FRACTIONS = Float64Array.from({ length: 1024 }, (_, i) => 2 ** (i / 1024));
const POWERS = Float64Array.from({ length: 1025 }, (_, i) => 2 ** (i - 1023));

/**
 * exp(steps / EXP_STEPS), accurate to 1e-10, for arguments up to slightly above zero: a table of 2^(i/1024) and the first
 * terms of the series for the rest. Math.exp for each token of the vocabulary took most of a sampled step.
 */
export function fastExp(steps: number): number {
  if (!(steps > -1_000_000)) return 0;
  const whole = steps | 0;
  const rest = (steps - whole) * (Math.LN2 / 1024);
  return POWERS[(whole >> 10) + 1023]! * FRACTIONS[whole & 1023]! * (1 + rest * (1 + rest * 0.5));
}
