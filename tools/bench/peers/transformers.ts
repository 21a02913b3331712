// transformers.js on onnxruntime-node. It has no request queue: concurrent generations are one batched call, which is its
// fastest mode if all prompts have the same length.
import path from 'node:path';
import { AutoModelForCausalLM, AutoTokenizer, env, StoppingCriteria, Tensor } from '@huggingface/transformers';
import { type Batch, handleServingPlan } from './peer.ts';

/** Records the time of every step and never stops generation. */
class StepTimer extends StoppingCriteria {
  readonly tokenTimesMs: number[] = [];
  private readonly started = performance.now();

  override _call(inputIds: number[][]): boolean[] {
    this.tokenTimesMs.push(performance.now() - this.started);
    return inputIds.map(() => false);
  }
}

handleServingPlan(async ({ source, variant, threads }) => {
  env.allowRemoteModels = false;
  env.localModelPath = path.dirname(source);
  const name = path.basename(source);
  // Not needed for token ids, but part of the memory of any text server.
  await AutoTokenizer.from_pretrained(name);
  const model = await AutoModelForCausalLM.from_pretrained(name, {
    dtype: variant as 'q8' | 'fp32',
    device: 'cpu',
    session_options: { intraOpNumThreads: threads, interOpNumThreads: 1 },
  });
  return {
    async generate({ prompts, tokens }: Batch) {
      const dims = [prompts.length, prompts[0]!.length];
      const ids = BigInt64Array.from(prompts.flat(), BigInt);
      const timer = new StepTimer();
      const output = await model.generate({
        input_ids: new Tensor('int64', ids, dims),
        attention_mask: new Tensor('int64', new BigInt64Array(ids.length).fill(1n), dims),
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
});
