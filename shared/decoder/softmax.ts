// One row's logits as weights to draw by: exp((logit − peak) / temperature). Relative to the largest, which is 1,
// because a bias of 100 and a temperature of 0.01 must not overflow. Most of a vocabulary weighs next to nothing: what
// is far below the peak is left out for as long as a bound on it shows that it cannot change the outcome.
import { gather, gatherUntil, keepFirst } from './top-k.ts';

/** Tokens near the peak: those that weigh exp(-9) and more. */
const NEAR = 9;
/** How far off, relatively, a log-sum-exp in single precision may be: many times what rounding does to it. */
const SLACK = 1e-4;

export type Row = {
  logits: Float32Array;
  peak: number;
  temperature: number;
  /** (logit − peak) times this is what `exponentiate` takes. */
  scale: number;
  /** The sum of exp(logit − peak), as the graph's log-sum-exp tells it, and how far off it may be. */
  plainTotal: number;
  slack: number;
};

/** `logNormalizer` is the log-sum-exp of the logits before some of them were changed; `before` has those. */
export function toRow(
  logits: Float32Array,
  peak: number,
  temperature: number,
  logNormalizer: number,
  before: ReadonlyMap<number, number>,
): Row {
  let plainTotal = Math.exp(logNormalizer - peak);
  const slack = SLACK * plainTotal;
  for (const [token, logit] of before) plainTotal += Math.exp(logits[token]! - peak) - Math.exp(logit - peak);
  return { logits, peak, temperature, scale: STEPS / temperature, plainTotal, slack };
}

export function weigh({ logits, peak, scale }: Row, token: number): number {
  return exponentiate((logits[token]! - peak) * scale);
}

export function sumWeights(row: Row, tokens: number[]): number {
  let total = 0;
  for (const token of tokens) total += weigh(row, token);
  return total;
}

/** Lays the weights end to end: the token on whose part `position` lies, null where it lies beyond them all. */
export function findAt(row: Row, tokens: number[], position: number): number | null {
  let rest = position;
  for (const token of tokens) {
    rest -= weigh(row, token);
    if (rest < 0) return token;
  }
  return null;
}

/** The likeliest tokens, as few as weigh `goal` together. */
export function keepWeight(row: Row, tokens: number[], goal: number): number[] {
  return keepFirst(tokens, row.logits, goal, (token) => weigh(row, token));
}

/** Draws from the whole vocabulary; `uniform` is in [0, 1). */
export function drawFromAll(row: Row, uniform: number): number {
  const floor = row.peak - NEAR * row.temperature;
  const near = gather(row.logits, floor);
  const [least, most] = boundTotal(row, near);
  const token = findAt(row, near, uniform * least);
  if (token !== null && token === findAt(row, near, uniform * most)) return token;

  const position = uniform * sumAll(row);
  let rest = position - sumWeights(row, near);
  if (rest < 0) return findAt(row, near, position) ?? near.at(-1)!;
  for (let far = 0; far < row.logits.length; far++) {
    if (row.logits[far]! >= floor) continue;
    rest -= weigh(row, far);
    if (rest < 0) return far;
  }
  // Rounding can leave a crumb behind the last token.
  return near.at(-1)!;
}

/** The likeliest tokens, as few as have `share` of the whole vocabulary's weight. */
export function findNucleus(row: Row, share: number): number[] {
  const near = gather(row.logits, row.peak - NEAR * row.temperature);
  const [least, most] = boundTotal(row, near);
  if (sumWeights(row, near) >= share * most) {
    const kept = keepWeight(row, near, share * least);
    if (sumWeights(row, kept) >= share * most) return kept;
  }
  const goal = share * sumAll(row);
  const enough = (tokens: number[]) => sumWeights(row, tokens) >= goal;
  return keepWeight(row, gatherUntil(row.logits, row.peak, NEAR * row.temperature, enough), goal);
}

/**
 * Between what and what the whole vocabulary's weight lies, given all tokens near the peak. How much the others have at
 * temperature 1 is known; at a lower one each has at most exp(-NEAR · (1 − temperature)) of that.
 */
function boundTotal(row: Row, near: number[]): [least: number, most: number] {
  const { logits, peak, temperature, plainTotal, slack } = row;
  const sum = sumWeights(row, near);
  if (temperature > 1) return [sum, Infinity];
  let rest = plainTotal;
  for (const token of near) rest -= exponentiate((logits[token]! - peak) * STEPS);
  const most = sum + Math.max(0, rest + slack) * Math.exp(-NEAR * (1 - temperature));
  return [temperature === 1 ? sum + Math.max(0, rest - slack) : sum, most];
}

function sumAll({ logits, peak, scale }: Row): number {
  let total = 0;
  for (let token = 0; token < logits.length; token++) total += exponentiate((logits[token]! - peak) * scale);
  return total;
}

/** 2^(steps / 1024) is exp of what was multiplied by this. */
export const STEPS = 1024 / Math.LN2;
const FRACTIONS = Float64Array.from({ length: 1024 }, (_, i) => 2 ** (i / 1024));
const POWERS = Float64Array.from({ length: 1025 }, (_, i) => 2 ** (i - 1023));

/**
 * exp(steps / STEPS) of a number that is not much above zero, within 1e-10: a table of 2^(i/1024) and the first terms of
 * the series for the rest. Math.exp is a call per token of the vocabulary and took most of a sampled step.
 */
export function exponentiate(steps: number): number {
  if (!(steps > -1_000_000)) return 0;
  const whole = steps | 0;
  const rest = (steps - whole) * (Math.LN2 / 1024);
  return POWERS[(whole >> 10) + 1023]! * FRACTIONS[whole & 1023]! * (1 + rest * (1 + rest * 0.5));
}
