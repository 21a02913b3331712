// Chooses the next token of one row from its logits. Pure arithmetic on one Float32Array; the row's history is the
// caller's. It looks only at as much of the vocabulary as it needs, because 49,000 exponentials for every token would
// cost more than a small model's step; what it leaves out is bounded, and counts once it could change the choice.

import {
  EXP_STEPS,
  fastExp,
  findTokenAt,
  type ScaledLogits,
  sampleFromAll,
  scaleLogits,
  selectNucleus,
  selectTopMass,
  sumWeights,
  weightOf,
} from './softmax.ts';
import { argmax, quickselectTop, selectAtLeast, selectTopUntil } from './top-k.ts';

/**
 * How a token is chosen, applied in this order: logitBias, penalties (over what was generated so far), temperature,
 * topK, topP, minP. Temperature 0 takes the likeliest; topK 0, topP 1 and minP 0 are off.
 */
export type SamplingParams = {
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
const GREEDY_TEMPERATURE = 1e-5;

/** Most rows have some hundred logits within this of the largest. */
const TOP_LOGIT_GAP = 8;

export type DistributionParams = Pick<
  SamplingParams,
  'temperature' | 'topP' | 'topK' | 'minP' | 'frequencyPenalty' | 'presencePenalty' | 'logitBias'
>;

/** As the policy has it: temperature 1, and everything else off. */
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
 * logits [V] and their log-sum-exp → a token id. `counts` says how often each token was generated so far, `uniform`
 * gives a number in [0, 1). The logits are as they were when it returns.
 */
export function sampleToken(
  logits: Float32Array,
  logNormalizer: number,
  shaping: DistributionParams,
  counts: ReadonlyMap<number, number>,
  uniform: () => number,
): number {
  const before = applyBiasAndPenalties(logits, shaping, counts);
  try {
    return sampleFromLogits(logits, logNormalizer, before, shaping, uniform);
  } finally {
    for (const [token, logit] of before) logits[token] = logit;
  }
}

/** The `count` likeliest tokens under softmax(logits), likeliest first. */
export function selectTopLogprobs(logits: Float32Array, logNormalizer: number, count: number): TokenLogprob[] {
  if (count === 0) return [];
  return selectTop(logits, logits[argmax(logits)]!, count)
    .sort((a, b) => logits[b]! - logits[a]! || a - b)
    .slice(0, count)
    .map((tokenId) => ({ tokenId, logprob: logits[tokenId]! - logNormalizer }));
}

/** At least the `count` likeliest, usually some more, in no order. */
function selectTop(logits: Float32Array, peak: number, count: number): number[] {
  return selectTopUntil(logits, peak, TOP_LOGIT_GAP, (tokens) => tokens.length >= count);
}

/** Applies biases and penalties; returns what was there before, by token. */
function applyBiasAndPenalties(
  logits: Float32Array,
  shaping: DistributionParams,
  counts: ReadonlyMap<number, number>,
): Map<number, number> {
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

function sampleFromLogits(
  logits: Float32Array,
  logNormalizer: number,
  before: ReadonlyMap<number, number>,
  shaping: DistributionParams,
  uniform: () => number,
): number {
  const { temperature, topK, topP, minP } = shaping;
  const isFiltered = topP < 1 || minP > 0 || (topK > 0 && topK < logits.length);
  if (before.size === 0 && !isFiltered && temperature === 1) return sampleUnfiltered(logits, logNormalizer, uniform());
  const best = argmax(logits);
  if (temperature < GREEDY_TEMPERATURE) return best;

  const row = scaleLogits(logits, logits[best]!, temperature, logNormalizer, before);
  if (!isFiltered) return sampleFromAll(row, uniform());
  const tokens = filterTokens(row, shaping);
  return (
    findTokenAt(row, tokens, uniform() * sumWeights(row, tokens)) ??
    tokens.findLast((token) => weightOf(row, token) > 0)!
  );
}

/** topK, then topP of what remains, then minP relative to the likeliest. */
function filterTokens(row: ScaledLogits, { topK, topP, minP }: DistributionParams): number[] {
  const { logits } = row;
  let tokens: number[];
  if (topK > 0 && topK < logits.length) {
    tokens = quickselectTop(selectTop(logits, row.peak, topK), logits, topK, () => 1);
    if (topP < 1) tokens = selectTopMass(row, tokens, topP * sumWeights(row, tokens));
  } else if (topP < 1) tokens = selectNucleus(row, topP);
  else tokens = selectAtLeast(logits, row.peak + row.temperature * (Math.log(minP) - 1e-6));
  return minP > 0 ? tokens.filter((token) => weightOf(row, token) >= minP) : tokens;
}

/**
 * The usual case needs neither the largest logit nor the total, which the graph has computed, and so can stop at the
 * token it draws. Vocabularies begin with their commonest tokens: that is soon.
 */
function sampleUnfiltered(logits: Float32Array, logNormalizer: number, uniform: number): number {
  let rest = uniform;
  for (let token = 0; token < logits.length; token++) {
    rest -= fastExp((logits[token]! - logNormalizer) * EXP_STEPS);
    if (rest < 0) return token;
  }
  // Rounding can leave a crumb of a millionth behind the last token.
  return argmax(logits);
}
