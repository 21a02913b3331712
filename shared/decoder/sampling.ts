// Chooses the next token of one row from its logits. Pure arithmetic on one Float32Array; the row's history is the
// caller's. It looks only at as much of the vocabulary as it needs, because 49,000 exponentials for every token would
// cost more than a small model's step; what it leaves out is bounded, and counts once it could change the choice.

import {
  drawFromAll,
  exponentiate,
  findAt,
  findNucleus,
  keepWeight,
  type Row,
  STEPS,
  sumWeights,
  toRow,
  weigh,
} from './softmax.ts';
import { findLargest, gather, gatherUntil, keepFirst } from './top-k.ts';

/**
 * How a token is chosen, applied in this order: logitBias, penalties (over what was generated so far), temperature,
 * topK, topP, minP. Temperature 0 takes the likeliest; topK 0, topP 1 and minP 0 are off.
 */
export type Sampling = {
  maxTokens: number;
  temperature: number;
  topP: number;
  topK: number;
  minP: number;
  frequencyPenalty: number;
  presencePenalty: number;
  /** Token id to what is added to its logit. */
  logitBias: Record<number, number>;
  seed: number;
  /** Texts that end a generation; they are cut from its text, and so is what follows them. */
  stop: string[];
  /** How many of the likeliest tokens to report at each step. */
  topLogprobs: number;
};

/** Log-probabilities are the policy's own: before bias, penalties and temperature. */
export type TokenLogprob = { tokenId: number; logprob: number };

/** Below this a temperature is as good as zero, and dividing by it is not. */
const COLD = 1e-5;

/** Most rows have some hundred logits within this of the largest. */
const STEP = 8;

export type Shaping = Pick<
  Sampling,
  'temperature' | 'topP' | 'topK' | 'minP' | 'frequencyPenalty' | 'presencePenalty' | 'logitBias'
>;

/** As the policy has it: temperature 1, and everything else off. */
export const PLAIN: Shaping = {
  temperature: 1,
  topP: 1,
  topK: 0,
  minP: 0,
  frequencyPenalty: 0,
  presencePenalty: 0,
  logitBias: {},
};

/**
 * logits [V] and their log-sum-exp → a token id. `counts` says how often each token was generated so far, `uniform`
 * gives a number in [0, 1). The logits are as they were when it returns.
 */
export function sampleToken(
  logits: Float32Array,
  logNormalizer: number,
  shaping: Shaping,
  counts: ReadonlyMap<number, number>,
  uniform: () => number,
): number {
  const before = shapeLogits(logits, shaping, counts);
  try {
    return choose(logits, logNormalizer, before, shaping, uniform);
  } finally {
    for (const [token, logit] of before) logits[token] = logit;
  }
}

/** The `count` likeliest tokens under softmax(logits), likeliest first. */
export function rankTokens(logits: Float32Array, logNormalizer: number, count: number): TokenLogprob[] {
  if (count === 0) return [];
  return gatherLikeliest(logits, logits[findLargest(logits)]!, count)
    .sort((a, b) => logits[b]! - logits[a]! || a - b)
    .slice(0, count)
    .map((tokenId) => ({ tokenId, logprob: logits[tokenId]! - logNormalizer }));
}

/** At least the `count` likeliest, usually some more, in no order. */
function gatherLikeliest(logits: Float32Array, peak: number, count: number): number[] {
  return gatherUntil(logits, peak, STEP, (tokens) => tokens.length >= count);
}

/** Applies biases and penalties; returns what was there before, by token. */
function shapeLogits(logits: Float32Array, shaping: Shaping, counts: ReadonlyMap<number, number>): Map<number, number> {
  const before = new Map<number, number>();
  const add = (token: number, amount: number) => {
    if (token >= logits.length) return;
    if (!before.has(token)) before.set(token, logits[token]!);
    logits[token]! += amount;
  };
  for (const token in shaping.logitBias) add(Number(token), shaping.logitBias[token]!);
  const { frequencyPenalty, presencePenalty } = shaping;
  if (frequencyPenalty === 0 && presencePenalty === 0) return before;
  for (const [token, count] of counts) add(token, -count * frequencyPenalty - presencePenalty);
  return before;
}

function choose(
  logits: Float32Array,
  logNormalizer: number,
  before: ReadonlyMap<number, number>,
  shaping: Shaping,
  uniform: () => number,
): number {
  const { temperature, topK, topP, minP } = shaping;
  const isFiltered = topP < 1 || minP > 0 || (topK > 0 && topK < logits.length);
  if (before.size === 0 && !isFiltered && temperature === 1) return drawPlainly(logits, logNormalizer, uniform());
  const best = findLargest(logits);
  if (temperature < COLD) return best;

  const row = toRow(logits, logits[best]!, temperature, logNormalizer, before);
  if (!isFiltered) return drawFromAll(row, uniform());
  const tokens = filterTokens(row, shaping);
  return findAt(row, tokens, uniform() * sumWeights(row, tokens)) ?? tokens.findLast((token) => weigh(row, token) > 0)!;
}

/** topK, then topP of what remains, then minP relative to the likeliest. */
function filterTokens(row: Row, { topK, topP, minP }: Shaping): number[] {
  const { logits } = row;
  let tokens: number[];
  if (topK > 0 && topK < logits.length) {
    tokens = keepFirst(gatherLikeliest(logits, row.peak, topK), logits, topK, () => 1);
    if (topP < 1) tokens = keepWeight(row, tokens, topP * sumWeights(row, tokens));
  } else if (topP < 1) tokens = findNucleus(row, topP);
  else tokens = gather(logits, row.peak + row.temperature * (Math.log(minP) - 1e-6));
  return minP > 0 ? tokens.filter((token) => weigh(row, token) >= minP) : tokens;
}

/**
 * The usual case needs neither the largest logit nor the total, which the graph has computed, and so can stop at the
 * token it draws. Vocabularies begin with their commonest tokens: that is soon.
 */
function drawPlainly(logits: Float32Array, logNormalizer: number, uniform: number): number {
  let rest = uniform;
  for (let token = 0; token < logits.length; token++) {
    rest -= exponentiate((logits[token]! - logNormalizer) * STEPS);
    if (rest < 0) return token;
  }
  // Rounding can leave a crumb of a millionth behind the last token.
  return findLargest(logits);
}
