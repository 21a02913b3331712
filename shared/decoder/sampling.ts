// Samples the next token of one row from its logits. It evaluates only as much of the vocabulary as it needs, because
// 49,000 exponentials per token would cost more than a small model's step; the weight of the rest is bounded, and is
// evaluated when it could change the result.

import {
  EXP_STEPS,
  fastExp,
  findTokenAt,
  getWeight,
  logSumExp,
  type ScaledLogits,
  sampleFromAll,
  scaleLogits,
  selectNucleus,
  selectTopMass,
  sumWeights,
} from './softmax.ts';
import type { TokenMask } from './token-mask.ts';
import { argmax, quickselectTop, selectAtLeast, selectTopUntil } from './top-k.ts';

/**
 * The sampling parameters, applied in this order: logitBias, penalties (over the generated tokens), the mask of allowed
 * tokens if there is one, temperature, topK, topP, minP. Temperature 0 is greedy; topK 0, topP 1 and minP 0 are off.
 */
export type SamplingParams = {
  maxTokens: number;
  temperature: number;
  topP: number;
  topK: number;
  minP: number;
  frequencyPenalty: number;
  presencePenalty: number;
  /** Token id → the bias added to its logit. */
  logitBias: Record<number, number>;
  seed: number;
  /** Stop strings: each ends the generation, and its text is cut before it. */
  stop: string[];
  /** How many of the most probable tokens to report with each token. */
  topLogprobs: number;
};

/** Under the policy itself: before bias, penalties, mask and temperature. */
export type TokenLogprob = { tokenId: number; logprob: number };

/** Temperatures below this are greedy, because dividing by them overflows. */
const GREEDY_TEMPERATURE = 1e-5;

/** Most rows have a few hundred logits within this distance of the largest. */
const TOP_LOGIT_GAP = 8;

/** The parameters that change the distribution. */
export type DistributionParams = Pick<
  SamplingParams,
  'temperature' | 'topP' | 'topK' | 'minP' | 'frequencyPenalty' | 'presencePenalty' | 'logitBias'
>;

/** The policy's own distribution: temperature 1, and everything else off. */
export const NEUTRAL_SAMPLING: DistributionParams = {
  temperature: 1,
  topP: 1,
  topK: 0,
  minP: 0,
  frequencyPenalty: 0,
  presencePenalty: 0,
  logitBias: {},
};

/**
 * logits [V] and their log-sum-exp → a token id. `counts` has how often each token was generated so far, `uniform`
 * returns a number in [0, 1). `mask` allows at least one token. The logits are restored before it returns.
 */
export function sampleToken(
  logits: Float32Array,
  logNormalizer: number,
  params: DistributionParams,
  counts: ReadonlyMap<number, number>,
  uniform: () => number,
  mask: TokenMask | null = null,
): number {
  if (mask?.isAllowList) return sampleListed(logits, params, counts, uniform, mask.tokens);
  const excluded = mask ? exclude(logits, logNormalizer, mask.tokens) : null;
  const originals = applyBiasAndPenalties(logits, params, counts);
  try {
    return sampleFromLogits(logits, excluded?.logNormalizer ?? logNormalizer, originals, params, uniform);
  } finally {
    for (const [token, logit] of originals) logits[token] = logit;
    excluded?.restore();
  }
}

/** Few tokens are allowed: samples from their logits alone. */
function sampleListed(
  logits: Float32Array,
  params: DistributionParams,
  counts: ReadonlyMap<number, number>,
  uniform: () => number,
  tokens: Int32Array,
): number {
  const originals = applyBiasAndPenalties(logits, params, counts);
  const listed = new Float32Array(tokens.length);
  for (let at = 0; at < tokens.length; at++) listed[at] = logits[tokens[at]!]!;
  for (const [token, logit] of originals) logits[token] = logit;
  return tokens[sampleFromLogits(listed, logSumExp(listed), new Map(), params, uniform)]!;
}

/** Below this share of the probability, what is left of it after a subtraction is too inexact. */
const MIN_SHARE = 0.1;

/** Few tokens are not allowed: gives them the logit -inf, and returns the log-sum-exp of the others. */
function exclude(logits: Float32Array, logNormalizer: number, tokens: Int32Array) {
  const excluded = new Float32Array(tokens.length);
  let share = 1;
  for (let at = 0; at < tokens.length; at++) {
    const token = tokens[at]!;
    excluded[at] = logits[token]!;
    share -= fastExp((excluded[at]! - logNormalizer) * EXP_STEPS);
    logits[token] = -Infinity;
  }
  return {
    logNormalizer: share > MIN_SHARE ? logNormalizer + Math.log(share) : logSumExp(logits),
    restore() {
      for (let at = 0; at < tokens.length; at++) logits[tokens[at]!] = excluded[at]!;
    },
  };
}

/** The `count` most probable tokens under softmax(logits), the most probable first. */
export function selectTopLogprobs(logits: Float32Array, logNormalizer: number, count: number): TokenLogprob[] {
  if (count === 0) return [];
  return selectTop(logits, logits[argmax(logits)]!, count)
    .sort((a, b) => logits[b]! - logits[a]! || a - b)
    .slice(0, count)
    .map((tokenId) => ({ tokenId, logprob: logits[tokenId]! - logNormalizer }));
}

/** At least the `count` most probable tokens, usually a few more, unordered. */
function selectTop(logits: Float32Array, peak: number, count: number): number[] {
  return selectTopUntil(logits, peak, TOP_LOGIT_GAP, (tokens) => tokens.length >= count);
}

/** Applies biases and penalties in place; returns the original logits of the changed tokens. */
function applyBiasAndPenalties(
  logits: Float32Array,
  params: DistributionParams,
  counts: ReadonlyMap<number, number>,
): Map<number, number> {
  const originals = new Map<number, number>();
  const add = (token: number, amount: number) => {
    if (token >= logits.length) return;
    if (!originals.has(token)) originals.set(token, logits[token]!);
    logits[token]! += amount;
  };
  for (const token in params.logitBias) add(Number(token), params.logitBias[token]!);
  const { frequencyPenalty, presencePenalty } = params;
  if (frequencyPenalty === 0 && presencePenalty === 0) return originals;
  for (const [token, count] of counts) add(token, -count * frequencyPenalty - presencePenalty);
  return originals;
}

function sampleFromLogits(
  logits: Float32Array,
  logNormalizer: number,
  originals: ReadonlyMap<number, number>,
  params: DistributionParams,
  uniform: () => number,
): number {
  const { temperature, topK, topP, minP } = params;
  const isFiltered = topP < 1 || minP > 0 || (topK > 0 && topK < logits.length);
  if (originals.size === 0 && !isFiltered && temperature === 1)
    return sampleUnfiltered(logits, logNormalizer, uniform());
  const best = argmax(logits);
  if (temperature < GREEDY_TEMPERATURE) return best;

  const row = scaleLogits(logits, logits[best]!, temperature, logNormalizer, originals);
  if (!isFiltered) return sampleFromAll(row, uniform());
  const tokens = filterTokens(row, params);
  return (
    findTokenAt(row, tokens, uniform() * sumWeights(row, tokens)) ??
    tokens.findLast((token) => getWeight(row, token) > 0)!
  );
}

/** Applies topK, then topP to the rest, then minP relative to the most probable token. */
function filterTokens(row: ScaledLogits, { topK, topP, minP }: DistributionParams): number[] {
  const { logits } = row;
  let tokens: number[];
  if (topK > 0 && topK < logits.length) {
    tokens = quickselectTop(selectTop(logits, row.peak, topK), logits, topK, () => 1);
    if (topP < 1) tokens = selectTopMass(row, tokens, topP * sumWeights(row, tokens));
  } else if (topP < 1) tokens = selectNucleus(row, topP);
  else tokens = selectAtLeast(logits, row.peak + row.temperature * (Math.log(minP) - 1e-6));
  return minP > 0 ? tokens.filter((token) => getWeight(row, token) >= minP) : tokens;
}

/**
 * The usual case. It needs neither the largest logit nor the total, which the graph has computed, so it stops at the
 * sampled token. Vocabularies start with their most frequent tokens, so that is early.
 */
function sampleUnfiltered(logits: Float32Array, logNormalizer: number, uniform: number): number {
  let rest = uniform;
  for (let token = 0; token < logits.length; token++) {
    rest -= fastExp((logits[token]! - logNormalizer) * EXP_STEPS);
    if (rest < 0) return token;
  }
  // Rounding can leave a remainder of a millionth after the last token.
  return argmax(logits);
}
