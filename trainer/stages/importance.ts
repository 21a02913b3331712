// Importance weights π_ref(y|x) / μ(y|x) of negatives that another policy μ sampled than the reference, whose samples
// DIL's should be. They are ratios of whole responses whatever the reduction is: what is averaged over the reference's
// responses may be any function of them. Constants to the gradient.
//
// Ratios of long responses are mostly far below 1 and rarely far above. Clipped as they are they would sum to a fraction,
// the negative term would fade, and every response would be pulled up. So they are scaled to average 1 with none above
// the cap: at a cap of 1 all are 1 (no weighting), without a cap they are self-normalized importance weights, unbiased.
import type { Selected } from '../data/pairs.ts';
import type { TokenPair } from '../data/tokens.ts';
import type { TrainPair } from '../engine/engine.ts';

export type WeighSettings = { negatives: 'rejected' | 'both'; weight_cap: number };
export type Weighed = {
  pairs: TrainPair[];
  /** Responses that stand for the reference's, and how many of them have a known sampler. */
  negatives: number;
  known: number;
  capped: number;
  /** How many of equal weight the known ones are worth: (Σw)² / Σw². */
  effective: number;
};

/**
 * The pairs with a weight for each side that is a negative. A side is unknown, and counts 1, where no policy of ours
 * sampled it, where it was drawn from a changed distribution (temperature, top_p, …), whose log-probabilities are not
 * kept, or where its prompt had to be cut.
 */
export function weighPairs(
  how: WeighSettings,
  items: { pair: Selected; tokens: TokenPair }[],
  scored: TrainPair[],
): Weighed {
  const sides = how.negatives === 'both' ? (['chosen', 'rejected'] as const) : (['rejected'] as const);
  const ratios = scored.map((pair, at) => {
    const { sampled } = items[at]!.pair;
    const isComparable = sampled && !items[at]!.tokens.promptIsCut;
    const of = (logps: number[] | null, refs: Float32Array) => (isComparable ? logRatio(logps, refs) : null);
    return {
      chosen: of(sampled?.chosen.logps ?? null, pair.refChosenLogps),
      rejected: of(sampled?.rejected.logps ?? null, pair.refRejectedLogps),
    };
  });
  const known = ratios.flatMap((ratio) => sides.flatMap((side) => ratio[side] ?? []));
  const scale = scaleToOne(known, how.weight_cap);
  const weigh = (ratio: number | null) => (ratio === null ? 1 : Math.min(how.weight_cap, Math.exp(ratio + scale)));
  const weights = known.map(weigh);
  const sum = weights.reduce((total, weight) => total + weight, 0);
  const squares = weights.reduce((total, weight) => total + weight ** 2, 0);
  return {
    pairs: scored.map((pair, at) => {
      const importance = { chosen: 1, rejected: 1 };
      for (const side of sides) importance[side] = weigh(ratios[at]![side]);
      return { ...pair, importance };
    }),
    negatives: sides.length * scored.length,
    known: known.length,
    capped: weights.filter((weight) => weight === how.weight_cap && how.weight_cap > 1).length,
    effective: sum === 0 ? 0 : sum ** 2 / squares,
  };
}

/** log π_ref − log μ over the tokens that both have: the token that ends a text has none of the sampler's. */
function logRatio(samplerLogps: number[] | null, refLogps: Float32Array): number | null {
  if (!samplerLogps) return null;
  let sum = 0;
  for (let i = 0; i < Math.min(samplerLogps.length, refLogps.length); i++) sum += refLogps[i]! - samplerLogps[i]!;
  return sum;
}

/** What to add to log-ratios so that exp of them, cut at the cap of 1 or more, averages 1. */
function scaleToOne(logRatios: readonly number[], cap: number): number {
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
