// KL(policy ‖ reference) of whole responses, estimated on what the policy itself samples: its float32 serving graph
// continues held-out prompts, and policy and reference score the very tokens. The estimator is Σ_t (ρ − 1 − log ρ) with
// ρ = π_ref/π_θ of the sampled token: unbiased as Σ_t −log ρ is, never negative, and far less scattered.
import { availableParallelism, tmpdir } from 'node:os';
import type { Architecture } from '../../shared/model/architecture.ts';
import type { Engine } from '../../trainer/engine/engine.ts';
import { drawResponses } from '../../trainer/evaluation/rollouts.ts';

/** In nats a response, with the standard error over the samples. */
export type Divergence = { kl: number; error: number; samples: number; meanLength: number };

export async function estimateKl(
  policy: Engine,
  reference: Engine,
  architecture: Architecture,
  prompts: number[][],
  { maxTokens, seed }: { maxTokens: number; seed: number },
): Promise<Divergence> {
  const threads = availableParallelism();
  const writer = { architecture, weights: await policy.weights(), folder: tmpdir(), seed, threads };
  const sequences = await drawResponses(
    writer,
    prompts.map((promptIds, prompt) => ({
      promptIds,
      prompt,
      maxTokens: Math.min(maxTokens, architecture.contextLength - promptIds.length),
    })),
  );
  const own = await policy.score(sequences);
  const other = await reference.score(sequences);
  const each = own.map((logps, i) =>
    logps.reduce((sum, logp, t) => sum + Math.exp(other[i]![t]! - logp) - 1 - (other[i]![t]! - logp), 0),
  );
  const kl = each.reduce((sum, value) => sum + value, 0) / each.length;
  const variance = each.reduce((sum, value) => sum + (value - kl) ** 2, 0) / Math.max(1, each.length - 1);
  const tokens = sequences.reduce((sum, { responseIds }) => sum + responseIds.length, 0);
  return {
    kl,
    error: Math.sqrt(variance / each.length),
    samples: each.length,
    meanLength: tokens / sequences.length,
  };
}
