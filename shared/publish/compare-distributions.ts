// How far one next-token distribution is from another: the Kullback-Leibler divergence, and whether both have the same
// likeliest token.

/** logits [V] and their log-sum-exp: the log-probability of token i is logits[i] − normalizer. */
export type Logits = { logits: Float32Array; normalizer: number };

/** KL(p ‖ q) = Σ p (log p − log q) over logits [V], and whether both have the same top-1 token. */
export function compareDistributions(p: Logits, q: Logits): { kl: number; isTop1Equal: boolean } {
  let kl = 0;
  let topP = 0;
  let topQ = 0;
  for (let token = 0; token < p.logits.length; token++) {
    const logprob = p.logits[token]! - p.normalizer;
    kl += Math.exp(logprob) * (logprob - (q.logits[token]! - q.normalizer));
    if (p.logits[token]! > p.logits[topP]!) topP = token;
    if (q.logits[token]! > q.logits[topQ]!) topQ = token;
  }
  return { kl, isTop1Equal: topP === topQ };
}
