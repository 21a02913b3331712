// KL(policy ‖ reference) of whole responses, estimated on samples of the policy: its float32 serving graph continues
// held-out prompts, and both models score the sampled tokens. The estimator Σ_t (ρ − 1 − log ρ), with ρ = π_ref/π_θ of the
// sampled token, is unbiased like Σ_t −log ρ, non-negative, and has much less variance (Schulman's k3).
import { availableParallelism, tmpdir } from 'node:os';
import type { Architecture } from '../../shared/model/architecture.ts';
import type { Engine } from '../../trainer/engine/engine.ts';
import { sampleResponses } from '../../trainer/evaluation/rollouts.ts';
import { mean, sum } from '../report/statistics.ts';

/** Nats per response, with the standard error over samples. */
export type KlEstimate = { kl: number; error: number; samples: number; meanLength: number };

export async function estimateKl(
  policy: Engine,
  reference: Engine,
  architecture: Architecture,
  prompts: number[][],
  { maxTokens, seed }: { maxTokens: number; seed: number },
): Promise<KlEstimate> {
  const threads = availableParallelism();
  const writer = { architecture, readWeights: () => policy.weights(), folder: tmpdir(), seed, threads };
  const sequences = await sampleResponses(
    writer,
    prompts.map((promptIds, promptIndex) => ({
      promptIds,
      promptIndex,
      maxTokens: Math.min(maxTokens, architecture.contextLength - promptIds.length),
    })),
  );
  const policyLogps = await policy.score(sequences);
  const referenceLogps = await reference.score(sequences);
  const estimates = policyLogps.map((logps, i) => responseKl(logps, referenceLogps[i]!));
  const kl = mean(estimates);
  const variance = sum(estimates.map((value) => (value - kl) ** 2)) / Math.max(1, estimates.length - 1);
  return {
    kl,
    error: Math.sqrt(variance / estimates.length),
    samples: estimates.length,
    meanLength: mean(sequences.map(({ responseIds }) => responseIds.length)),
  };
}

/** Σ_t (ρ − 1 − log ρ) over the tokens of one sample of the policy. */
export function responseKl(logps: Float32Array, referenceLogps: Float32Array): number {
  return logps.reduce((total, logp, t) => {
    const logRatio = referenceLogps[t]! - logp;
    return total + Math.exp(logRatio) - 1 - logRatio;
  }, 0);
}
