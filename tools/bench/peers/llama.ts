// llama.cpp through node-llama-cpp's prebuilt library: one context with a sequence per generation, batched as documented.
// The variant `ordered` sorts each batch by sequence: llama.cpp splits a batch wherever its sequences are out of order, and
// node-llama-cpp batches them in the order in which they were sampled, which loses most of the batching.
import {
  type BatchingOptions,
  type ControlledEvaluateInputItem,
  type EvaluationPriority,
  getLlama,
  LlamaLogLevel,
  type Token,
} from 'node-llama-cpp';
import { type AccuracyPlan, type Batch, handleServingPlan, type Plan } from './peer.ts';

/** Larger prompt batches are not faster and cost memory. */
const MAX_BATCH_TOKENS = 2048;

/** Sorts by evaluation priority, the only property of a sequence that a strategy receives; it may be fractional. */
const ORDERED: BatchingOptions = {
  itemPrioritizationStrategy({ items, size }) {
    let left = size;
    const ordered = items.toSorted((a, b) => b.evaluationPriority - a.evaluationPriority);
    return ordered.flatMap((item) => {
      const processAmount = Math.min(item.tokens.length, left);
      left -= processAmount;
      return processAmount > 0 ? [{ item, processAmount }] : [];
    });
  },
  // A batch is dispatched once every sequence has queued a token; this is the longest time that the first one waits.
  dispatchSchedule: (dispatch) => setTimeout(dispatch, 5),
};

async function openModel(source: string, threads: number) {
  const llama = await getLlama({ gpu: false, build: 'never', maxThreads: threads, logLevel: LlamaLogLevel.error });
  return { llama, model: await llama.loadModel({ modelPath: source, gpuLayers: 0 }) };
}

async function openServing({ source, variant, threads, batch }: Plan) {
  const { llama, model } = await openModel(source, threads);
  const length = batch.prompts[0]!.length;
  const context = await model.createContext({
    sequences: batch.prompts.length,
    contextSize: length + batch.tokens + 1,
    batchSize: Math.min(MAX_BATCH_TOKENS, batch.prompts.length * length),
    threads: { ideal: threads, min: threads },
    batching: variant.endsWith(' ordered') ? ORDERED : {},
  });
  const sequences = batch.prompts.map(() => context.getSequence());

  async function generateOne(at: number, prompt: number[], tokens: number, started: number) {
    const tokenTimesMs: number[] = [];
    const tokenIds: number[] = [];
    const evaluationPriority = (5 - at / sequences.length) as EvaluationPriority;
    const options = { temperature: 0, yieldEogToken: true, evaluationPriority };
    for await (const token of sequences[at]!.evaluate(prompt as Token[], options)) {
      tokenTimesMs.push(performance.now() - started);
      tokenIds.push(token);
      if (tokenTimesMs.length === tokens) break;
    }
    return { tokenTimesMs, tokenIds };
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
}

async function openLogits({ source, threads }: AccuracyPlan, maxLength: number) {
  const { llama, model } = await openModel(source, threads);
  const context = await model.createContext({ contextSize: maxLength + 1, threads: { ideal: threads, min: threads } });
  const sequence = context.getSequence();
  return {
    async startSequence() {
      await sequence.clearHistory();
      return async (tokens: number[]) => {
        const last: ControlledEvaluateInputItem = [
          tokens.at(-1) as Token,
          { generateNext: { probabilities: true, options: { temperature: 0 } } },
        ];
        const outputs = await sequence.controlledEvaluate([...(tokens.slice(0, -1) as Token[]), last]);
        return toLogprobs(outputs.at(-1)!.next.probabilities!);
      };
    },
    async close() {
      await llama.dispose();
    },
  };
}

/** Probabilities below this are zero as float32. */
const MIN_PROBABILITY = 2 ** -149;

/** node-llama-cpp returns the probability of every token instead of its logit. */
function toLogprobs(probabilities: Map<Token, number>): Float32Array {
  const logprobs = new Float32Array(probabilities.size);
  for (const [token, probability] of probabilities) logprobs[token] = Math.log(Math.max(probability, MIN_PROBABILITY));
  return logprobs;
}

handleServingPlan(openServing, openLogits);
