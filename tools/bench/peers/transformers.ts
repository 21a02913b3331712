// transformers.js on onnxruntime-node. It has no request queue: concurrent generations are one batched call, which is its
// fastest mode if all prompts have the same length.
import path from 'node:path';
import {
  AutoModelForCausalLM,
  AutoTokenizer,
  DynamicCache,
  env,
  StoppingCriteria,
  Tensor,
} from '@huggingface/transformers';
import { type AccuracyPlan, type Batch, handleServingPlan, type Plan } from './peer.ts';

/** Records the time of every step and never stops generation. */
class StepTimer extends StoppingCriteria {
  readonly tokenTimesMs: number[] = [];
  private readonly started = performance.now();

  override _call(inputIds: number[][]): boolean[] {
    this.tokenTimesMs.push(performance.now() - this.started);
    return inputIds.map(() => false);
  }
}

async function openModel({ source, variant, threads }: Pick<Plan, 'source' | 'variant' | 'threads'>) {
  env.allowRemoteModels = false;
  env.localModelPath = path.dirname(source);
  const name = path.basename(source);
  // Not needed for token ids, but part of the memory of any text server.
  await AutoTokenizer.from_pretrained(name);
  return AutoModelForCausalLM.from_pretrained(name, {
    dtype: variant as 'q8' | 'fp32',
    device: 'cpu',
    session_options: { intraOpNumThreads: threads, interOpNumThreads: 1 },
  });
}

async function openServing(plan: Plan) {
  const model = await openModel(plan);
  return {
    async generate({ prompts, tokens }: Batch) {
      const dims = [prompts.length, prompts[0]!.length];
      const timer = new StepTimer();
      const output = await model.generate({
        input_ids: toTensor(prompts.flat(), dims),
        attention_mask: toTensor(prompts.flat().fill(1), dims),
        max_new_tokens: tokens,
        do_sample: false,
        stopping_criteria: timer,
      });
      const rows = (output as Tensor).tolist() as bigint[][];
      return rows.map((row) => ({ tokenTimesMs: timer.tokenTimesMs, tokenIds: row.slice(dims[1]).map(Number) }));
    },
    async close() {
      await model.dispose();
    },
  };
}

/** The model's forward pass as `generate` calls it: the logits of the last position, and keys and values handed on. */
async function openLogits(plan: AccuracyPlan) {
  const model = await openModel(plan);
  return {
    async startSequence() {
      let past: DynamicCache | null = null;
      let length = 0;
      return async (tokens: number[]) => {
        length += tokens.length;
        const outputs: Record<string, Tensor> = await model({
          input_ids: toTensor(tokens, [1, tokens.length]),
          attention_mask: toTensor(new Array(length).fill(1), [1, length]),
          num_logits_to_keep: toTensor([1], []),
          past_key_values: past,
        });
        const { logits, ...present } = outputs;
        past = new DynamicCache(renameKeys(present));
        const vocabSize = logits!.dims[2]!;
        return (logits!.data as Float32Array).slice(-vocabSize);
      };
    },
    async close() {
      await model.dispose();
    },
  };
}

/** The graph's outputs `present.*` are the next step's inputs `past_key_values.*`. */
function renameKeys(present: Record<string, Tensor>): Record<string, Tensor> {
  return Object.fromEntries(
    Object.entries(present).map(([name, tensor]) => [name.replace('present', 'past_key_values'), tensor]),
  );
}

function toTensor(values: number[], dims: number[]): Tensor {
  return new Tensor('int64', BigInt64Array.from(values, BigInt), dims);
}

handleServingPlan(openServing, openLogits);
