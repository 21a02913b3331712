// llama.cpp through node-llama-cpp's prebuilt library: one context, a sequence for each generation, which it batches.
import { getLlama, LlamaLogLevel, type Token } from 'node-llama-cpp';
import { type Batch, servePeer } from './peer.ts';

/** llama.cpp computes at most so many tokens of prompts at once; more gains nothing and costs memory. */
const MOST_BATCH = 2048;

servePeer(async ({ source, threads, batch }) => {
  const llama = await getLlama({ gpu: false, build: 'never', maxThreads: threads, logLevel: LlamaLogLevel.error });
  const model = await llama.loadModel({ modelPath: source, gpuLayers: 0 });
  const length = batch.prompts[0]!.length;
  const context = await model.createContext({
    sequences: batch.prompts.length,
    contextSize: length + batch.tokens + 1,
    batchSize: Math.min(MOST_BATCH, batch.prompts.length * length),
    threads: { ideal: threads, min: threads },
  });
  const sequences = batch.prompts.map(() => context.getSequence());

  async function generateOne(at: number, prompt: number[], tokens: number, started: number) {
    const marks: number[] = [];
    const tokenIds: number[] = [];
    const sequence = sequences[at]!;
    for await (const token of sequence.evaluate(prompt as Token[], { temperature: 0, yieldEogToken: true })) {
      marks.push(performance.now() - started);
      tokenIds.push(token);
      if (marks.length === tokens) break;
    }
    return { marks, tokenIds };
  }
  return {
    async generate({ prompts, tokens }: Batch) {
      for (const sequence of sequences) await sequence.clearHistory();
      const started = performance.now();
      return Promise.all(prompts.map((prompt, at) => generateOne(at, prompt, tokens, started)));
    },
    async close() {
      await llama.dispose();
    },
  };
});
