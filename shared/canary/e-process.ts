// Evidence by blind votes that stays valid however often one looks: a test martingale (Shafer and Vovk 2019; Ramdas,
// Grünwald, Vovk and Shafer, "Game-theoretic statistics and safe anytime-valid inference", 2023). E+ bets against "the
// candidate wins at most half of the votes" with the uniform mixture of all higher rates. If that is true, E+ ever exceeds 20
// with a probability of at most 1/20 (Ville 1939).

import jstat from 'jstat';
import type { Interval } from '../database/round-types.ts';

const { betacf, betaln } = jstat.jStat;

/** Each of the two wrong decisions has at most this probability. */
export const ALPHA = 0.05;
/** log10 of the E at which it is decided. */
export const THRESHOLD = Math.log10(1 / ALPHA);

/** log10 of E+ = 2^(n+1) B(w+1, l+1) (1 − I½(w+1, l+1)). E− is that of losses and wins. */
export function measureEvidence(wins: number, losses: number): number {
  return logEvidence(wins, losses) / Math.LN10;
}

/**
 * 1 − I½(w+1, l+1) = I½(l+1, w+1) = cf / (2^(n+2) B (l+1)) with the continued fraction cf, which converges where w ≤ l. There
 * the powers and B cancel, and nothing underflows. Elsewhere E+ = 2^(n+1) B − E−, both in log space.
 */
function logEvidence(wins: number, losses: number): number {
  if (wins <= losses) return Math.log(betacf(0.5, losses + 1, wins + 1) / 2) - Math.log(losses + 1);
  const both = (wins + losses + 1) * Math.LN2 + betaln(wins + 1, losses + 1);
  return both + Math.log1p(-Math.exp(logEvidence(losses, wins) - both));
}

/**
 * The 95% confidence sequence of the win rate: every p that the uniform mixture over all rates does not speak against,
 * B(w+1, l+1) / (pʷ (1 − p)ˡ) < 20. Unlike a confidence interval it holds at all times together.
 */
export function estimateWinRate(wins: number, losses: number): Interval {
  const rate = wins + losses === 0 ? 0.5 : wins / (wins + losses);
  const least = betaln(wins + 1, losses + 1) + Math.log(ALPHA);
  const isIn = (p: number) => power(p, wins) + power(1 - p, losses) > least;
  return { low: findEdge(rate, 0, isIn), high: findEdge(rate, 1, isIn) };
}

/** log pᵏ, with 0⁰ = 1. */
function power(p: number, exponent: number): number {
  return exponent === 0 ? 0 : exponent * Math.log(p);
}

/** Between `inside`, which is in the interval, and the end of all rates, by halving. */
function findEdge(inside: number, end: number, isIn: (p: number) => boolean): number {
  if (isIn(end)) return end;
  let [near, far] = [inside, end];
  for (let step = 0; step < 50; step++) {
    const middle = (near + far) / 2;
    if (isIn(middle)) near = middle;
    else far = middle;
  }
  return near;
}
