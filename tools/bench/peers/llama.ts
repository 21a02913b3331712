// llama.cpp through node-llama-cpp's prebuilt library: one context, a sequence for each generation, which it batches.
// As its documentation has it; and `ordered`, as one must help it: it batches rows in the order in which they were
// sampled, and llama.cpp cuts a batch wherever its sequences are not in theirs, so that it loses most of the batching.
import { type BatchingOptions, type EvaluationPriority, getLlama, LlamaLogLevel, type Token } from 'node-llama-cpp';
import { type Batch, servePeer } from './peer.ts';

/** More tokens of prompts at once gain nothing and cost memory. */
const MOST_BATCH = 2048;

/** Rows by priority, which is all that a strategy is told of a sequence and need not be a whole number. */
const IN_ORDER: BatchingOptions = {
  itemPrioritizationStrategy({ items, size }) {
    let left = size;
    const ordered = items.toSorted((a, b) => b.evaluationPriority - a.evaluationPriority);
    return ordered.flatMap((item) => {
      const processAmount = Math.min(item.tokens.length, left);
      left -= processAmount;
      return processAmount > 0 ? [{ item, processAmount }] : [];
    });
  },
  // A batch goes at once when every sequence waits for it. This is how long the first waits for the last.
  dispatchSchedule: (dispatch) => setTimeout(dispatch, 5),
};

servePeer(async ({ source, variant, threads, batch }) => {
  const llama = await getLlama({ gpu: false, build: 'never', maxThreads: threads, logLevel: LlamaLogLevel.error });
  const model = await llama.loadModel({ modelPath: source, gpuLayers: 0 });
  const length = batch.prompts[0]!.length;
  const context = await model.createContext({
    sequences: batch.prompts.length,
    contextSize: length + batch.tokens + 1,
    batchSize: Math.min(MOST_BATCH, batch.prompts.length * length),
    threads: { ideal: threads, min: threads },
    batching: variant.endsWith(' ordered') ? IN_ORDER : {},
  });
  const sequences = batch.prompts.map(() => context.getSequence());

  async function generateOne(at: number, prompt: number[], tokens: number, started: number) {
    const marks: number[] = [];
    const tokenIds: number[] = [];
    const evaluationPriority = (5 - at / sequences.length) as EvaluationPriority;
    const options = { temperature: 0, yieldEogToken: true, evaluationPriority };
    for await (const token of sequences[at]!.evaluate(prompt as Token[], options)) {
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
