// Importance weights π_ref(y|x) / μ(y|x) of negatives that a policy μ sampled; DIL assumes samples of the reference.
// They are ratios of whole responses under any reduction, because they correct an expectation over responses. The
// gradient treats them as constants.
//
// Ratios of long responses are mostly far below 1 and rarely far above. Clipping alone would shrink their sum, the
// negative term would fade, and every response would be pushed up. So they are scaled to average 1 with none above the
// cap: a cap of 1 turns the weighting off, and without a cap they are self-normalized importance weights.
import type { PreferencePair } from '../data/pairs.ts';
import type { TokenizedPair } from '../data/tokens.ts';
import type { TrainPair } from '../engine/engine.ts';

export type ImportanceSettings = { negatives: 'rejected' | 'both'; weight_cap: number };
export type WeightedPairs = {
  pairs: TrainPair[];
  /** Responses that are used as samples of the reference. */
  negatives: number;
  /** Negatives with known log-probabilities under their sampler. */
  known: number;
  /** Known negatives whose weight is the cap. */
  capped: number;
  /** Of the known negatives: (Σw)² / Σw². */
  effectiveSampleSize: number;
};

/**
 * The pairs with a weight for each side that is a negative. A side is unknown and has weight 1 if no policy sampled it,
 * if it was sampled from a changed distribution (temperature, top_p, …), or if its prompt was truncated.
 */
export function weightPairs(
  config: ImportanceSettings,
  items: { pair: Pick<PreferencePair, 'sampled'>; tokens: Pick<TokenizedPair, 'isPromptTruncated'> }[],
  scored: TrainPair[],
): WeightedPairs {
  const sides = config.negatives === 'both' ? (['chosen', 'rejected'] as const) : (['rejected'] as const);
  const ratios = scored.map((pair, at) => {
    const { sampled } = items[at]!.pair;
    const isComparable = sampled && !items[at]!.tokens.isPromptTruncated;
    const toRatio = (logps: number[] | null, refLogps: Float32Array) =>
      isComparable ? logRatio(logps, refLogps) : null;
    return {
      chosen: toRatio(sampled?.chosen.logps ?? null, pair.refChosenLogps),
      rejected: toRatio(sampled?.rejected.logps ?? null, pair.refRejectedLogps),
    };
  });
  const known = ratios.flatMap((ratio) => sides.flatMap((side) => ratio[side] ?? []));
  const scale = findLogScale(known, config.weight_cap);
  const toWeight = (ratio: number | null) =>
    ratio === null ? 1 : Math.min(config.weight_cap, Math.exp(ratio + scale));
  const weights = known.map(toWeight);
  const sum = weights.reduce((total, weight) => total + weight, 0);
  const squares = weights.reduce((total, weight) => total + weight ** 2, 0);
  return {
    pairs: scored.map((pair, at) => {
      const importance = { chosen: 1, rejected: 1 };
      for (const side of sides) importance[side] = toWeight(ratios[at]![side]);
      return { ...pair, importance };
    }),
    negatives: sides.length * scored.length,
    known: known.length,
    capped: weights.filter((weight) => weight === config.weight_cap && config.weight_cap > 1).length,
    effectiveSampleSize: sum === 0 ? 0 : sum ** 2 / squares,
  };
}

/** log π_ref − log μ over the tokens that both have: the sampler's log-probability of the end-of-text is not stored. */
function logRatio(samplerLogps: number[] | null, refLogps: Float32Array): number | null {
  if (!samplerLogps) return null;
  let sum = 0;
  for (let i = 0; i < Math.min(samplerLogps.length, refLogps.length); i++) sum += refLogps[i]! - samplerLogps[i]!;
  return sum;
}

/** The constant c for which min(cap, exp(logRatio + c)) averages 1; cap ≥ 1. */
function findLogScale(logRatios: readonly number[], cap: number): number {
  const sorted = [...logRatios].sort((a, b) => b - a);
  // rest[k] = log Σ exp of all but the k largest
  const rest: number[] = new Array(sorted.length + 1).fill(Number.NEGATIVE_INFINITY);
  for (let k = sorted.length - 1; k >= 0; k--) rest[k] = addLogs(sorted[k]!, rest[k + 1]!);
  for (const [k, largest] of sorted.entries()) {
    const room = sorted.length - k * cap;
    if (room <= 0) break;
    const scale = Math.log(room) - rest[k]!;
    if (largest + scale <= Math.log(cap)) return scale;
  }
  return Number.POSITIVE_INFINITY;
}

/** log(eᵃ + eᵇ), a finite. */
function addLogs(a: number, b: number): number {
  return Math.max(a, b) + Math.log1p(Math.exp(-Math.abs(a - b)));
}
