// One row's logits as weights to draw by: exp((logit − peak) / temperature). Relative to the largest, which is 1,
// because a bias of 100 and a temperature of 0.01 must not overflow. Most of a vocabulary weighs next to nothing: what
// is far below the peak is left out for as long as a bound on it shows that it cannot change the outcome.
import { quickselectTop, selectAtLeast, selectTopUntil } from './top-k.ts';

/** Tokens near the peak: those that weigh exp(-9) and more. */
const NEAR_LOGIT_GAP = 9;
/** How far off, relatively, a log-sum-exp in single precision may be: many times what rounding does to it. */
const LOG_SUM_EXP_TOLERANCE = 1e-4;

export type ScaledLogits = {
  logits: Float32Array;
  peak: number;
  temperature: number;
  /** (logit − peak) times this is what `exponentiate` takes. */
  scale: number;
  /** The sum of exp(logit − peak), as the graph's log-sum-exp tells it, and how far off it may be. */
  unscaledTotal: number;
  tolerance: number;
};

/** `logNormalizer` is the log-sum-exp of the logits before some of them were changed; `before` has those. */
export function scaleLogits(
  logits: Float32Array,
  peak: number,
  temperature: number,
  logNormalizer: number,
  before: ReadonlyMap<number, number>,
): ScaledLogits {
  let plainTotal = Math.exp(logNormalizer - peak);
  const slack = LOG_SUM_EXP_TOLERANCE * plainTotal;
  for (const [token, logit] of before) plainTotal += Math.exp(logits[token]! - peak) - Math.exp(logit - peak);
  return { logits, peak, temperature, scale: EXP_STEPS / temperature, unscaledTotal: plainTotal, tolerance: slack };
}

export function weightOf({ logits, peak, scale }: ScaledLogits, token: number): number {
  return fastExp((logits[token]! - peak) * scale);
}

export function sumWeights(row: ScaledLogits, tokens: number[]): number {
  let total = 0;
  for (const token of tokens) total += weightOf(row, token);
  return total;
}

/** Lays the weights end to end: the token on whose part `position` lies, null where it lies beyond them all. */
export function findTokenAt(row: ScaledLogits, tokens: number[], position: number): number | null {
  let rest = position;
  for (const token of tokens) {
    rest -= weightOf(row, token);
    if (rest < 0) return token;
  }
  return null;
}

/** The likeliest tokens, as few as weigh `goal` together. */
export function selectTopMass(row: ScaledLogits, tokens: number[], goal: number): number[] {
  return quickselectTop(tokens, row.logits, goal, (token) => weightOf(row, token));
}

/** Draws from the whole vocabulary; `uniform` is in [0, 1). */
export function sampleFromAll(row: ScaledLogits, uniform: number): number {
  const floor = row.peak - NEAR_LOGIT_GAP * row.temperature;
  const near = selectAtLeast(row.logits, floor);
  const [least, most] = boundTotalWeight(row, near);
  const token = findTokenAt(row, near, uniform * least);
  if (token !== null && token === findTokenAt(row, near, uniform * most)) return token;

  const position = uniform * sumAllWeights(row);
  let rest = position - sumWeights(row, near);
  if (rest < 0) return findTokenAt(row, near, position) ?? near.at(-1)!;
  for (let far = 0; far < row.logits.length; far++) {
    if (row.logits[far]! >= floor) continue;
    rest -= weightOf(row, far);
    if (rest < 0) return far;
  }
  // Rounding can leave a crumb behind the last token.
  return near.at(-1)!;
}

/** The likeliest tokens, as few as have `share` of the whole vocabulary's weight. */
export function selectNucleus(row: ScaledLogits, share: number): number[] {
  const near = selectAtLeast(row.logits, row.peak - NEAR_LOGIT_GAP * row.temperature);
  const [least, most] = boundTotalWeight(row, near);
  if (sumWeights(row, near) >= share * most) {
    const kept = selectTopMass(row, near, share * least);
    if (sumWeights(row, kept) >= share * most) return kept;
  }
  const goal = share * sumAllWeights(row);
  const enough = (tokens: number[]) => sumWeights(row, tokens) >= goal;
  return selectTopMass(row, selectTopUntil(row.logits, row.peak, NEAR_LOGIT_GAP * row.temperature, enough), goal);
}

/**
 * Between what and what the whole vocabulary's weight lies, given all tokens near the peak. How much the others have at
 * temperature 1 is known; at a lower one each has at most exp(-NEAR · (1 − temperature)) of that.
 */
function boundTotalWeight(row: ScaledLogits, near: number[]): [least: number, most: number] {
  const { logits, peak, temperature, unscaledTotal: plainTotal, tolerance: slack } = row;
  const sum = sumWeights(row, near);
  if (temperature > 1) return [sum, Infinity];
  let rest = plainTotal;
  for (const token of near) rest -= fastExp((logits[token]! - peak) * EXP_STEPS);
  const most = sum + Math.max(0, rest + slack) * Math.exp(-NEAR_LOGIT_GAP * (1 - temperature));
  return [temperature === 1 ? sum + Math.max(0, rest - slack) : sum, most];
}

function sumAllWeights({ logits, peak, scale }: ScaledLogits): number {
  let total = 0;
  for (let token = 0; token < logits.length; token++) total += fastExp((logits[token]! - peak) * scale);
  return total;
}

/** 2^(steps / 1024) is exp of what was multiplied by this. */
export const EXP_STEPS = 1024 / Math.LN2;
const FRACTIONS = Float64Array.from({ length: 1024 }, (_, i) => 2 ** (i / 1024));
const POWERS = Float64Array.from({ length: 1025 }, (_, i) => 2 ** (i - 1023));

/**
 * exp(steps / STEPS) of a number that is not much above zero, within 1e-10: a table of 2^(i/1024) and the first terms of
 * the series for the rest. Math.exp is a call per token of the vocabulary and took most of a sampled step.
 */
export function fastExp(steps: number): number {
  if (!(steps > -1_000_000)) return 0;
  const whole = steps | 0;
  const rest = (steps - whole) * (Math.LN2 / 1024);
  return POWERS[(whole >> 10) + 1023]! * FRACTIONS[whole & 1023]! * (1 + rest * (1 + rest * 0.5));
}
