// How many held-out prompts a gate needs: with an effect d (the mean gain of a prompt over its standard deviation) and n
// prompts, the lower end of a 95% interval is above 0 with probability Φ(d·√n − 1.96).
import type { Estimate } from '../../shared/statistics/confidence-interval.ts';
import { normalCdf } from '../../shared/statistics/normal-distribution.ts';

/** Held-out pairs that a round evaluates at most. */
export const MAX_HELD_OUT = 512;

const Z95 = 1.96;
/** Four times in five. */
const Z_POWER = 0.8416;

/** The effect that an estimate over `prompts` shows; null without an interval. */
export function findEffect({ value, interval }: Estimate, prompts: number): number | null {
  if (!interval || interval.high === interval.low) return null;
  const error = (interval.high - interval.low) / (2 * Z95);
  return value / (error * Math.sqrt(prompts));
}

/** The prompts with which a policy of this effect passes four times in five; null if it is no improvement. */
export function findNeededPrompts(effect: number): number | null {
  return effect > 0 ? Math.ceil(((Z95 + Z_POWER) / effect) ** 2) : null;
}

/** The probability that a policy of this effect passes. */
export function estimatePassProbability(prompts: number, effect: number): number {
  return normalCdf(effect * Math.sqrt(prompts) - Z95);
}
