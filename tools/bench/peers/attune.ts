// Attune's engine as a library, without the API.
import { openInference } from '../../../edge/engine/policy-pool.ts';
import { NEUTRAL_SAMPLING } from '../../../shared/decoder/sampling.ts';
import { type Batch, chooseKvMemory, handleServingPlan, type Peer, type Plan } from './peer.ts';

async function openServing({ source, threads, kvBytes, batch }: Plan): Promise<Peer> {
  const inference = openInference({
    getFolder: async () => source,
    threads,
    maxRows: Math.max(16, batch.prompts.length),
    kvMemoryBytes: chooseKvMemory(kvBytes),
  });
  await inference.activate('measured');
  const policy = inference.getActivePolicy()!;
  async function generateOne(promptIds: number[], maxTokens: number, started: number) {
    const tokenTimesMs: number[] = [];
    const tokenIds: number[] = [];
    const sampling = {
      maxTokens,
      ...NEUTRAL_SAMPLING,
      temperature: 0,
      seed: 1,
      stop: [],
      topLogprobs: 0,
    };
    for await (const event of policy.generate({ promptIds, n: 1, sampling })) {
      if (event.type !== 'token') continue;
      tokenTimesMs.push(performance.now() - started);
      tokenIds.push(event.tokenId);
    }
    return { tokenTimesMs, tokenIds };
  }
  return {
    generate({ prompts, tokens }: Batch) {
      const started = performance.now();
      return Promise.all(prompts.map((prompt) => generateOne(prompt, tokens, started)));
    },
    close: () => inference.close(),
  };
}

handleServingPlan(openServing, async ({ source, threads }) => {
  const { openAttuneLogits } = await import('../attune-logits.ts');
  return openAttuneLogits(source, threads);
});
