// KL(policy ‖ root) of a policy while it is trained, by a few of its own samples. Each token adds r − 1 − log r with
// r = root/policy, which is as unbiased as the gate's mean of log-ratios, never negative, and less noisy (Schulman,
// "Approximating KL Divergence", 2020).
import { type SampleOptions, sumOf } from './evaluation.ts';
import { sampleResponses } from './rollouts.ts';
import { scoreInChunks } from './score-chunks.ts';

export type SampledKlOptions = Omit<SampleOptions, 'readBaseline' | 'onProgress'> & {
  /** Called while it samples; what it throws stops the measurement. */
  onProgress(done: number): void;
};

/** Nats per response. The engine keeps its state; the root is open only while it scores. */
export async function measureSampledKl(options: SampledKlOptions): Promise<number> {
  const { engine, requests, openRoot, onProgress, ...sampler } = options;
  const samples = await sampleResponses({ ...sampler, readWeights: () => engine.weights() }, requests, onProgress);
  const logps = await scoreInChunks(engine, samples, () => onProgress(samples.length));
  const root = await openRoot();
  try {
    const rootLogps = await scoreInChunks(root, samples, () => onProgress(samples.length));
    const divergences = logps.map((tokens, at) => sumOf(tokens.map((logp, i) => divergence(logp, rootLogps[at]![i]!))));
    return divergences.reduce((sum, each) => sum + each, 0) / samples.length;
  } finally {
    await root.close();
  }
}

/** r − 1 − log r. */
function divergence(logp: number, rootLogp: number): number {
  return Math.expm1(rootLogp - logp) - (rootLogp - logp);
}
