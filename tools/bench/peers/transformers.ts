// transformers.js on onnxruntime-node. It has no queue of its own: what runs together is one batch of one call, which
// with prompts of one length is the best that its users can do.
import path from 'node:path';
import { AutoModelForCausalLM, AutoTokenizer, env, StoppingCriteria, Tensor } from '@huggingface/transformers';
import { type Batch, servePeer } from './peer.ts';

/** Hears of every step's tokens, and stops nothing. */
class Clock extends StoppingCriteria {
  readonly marks: number[] = [];
  private readonly started = performance.now();

  override _call(inputIds: number[][]): boolean[] {
    this.marks.push(performance.now() - this.started);
    return inputIds.map(() => false);
  }
}

servePeer(async ({ source, variant, threads }) => {
  env.allowRemoteModels = false;
  env.localModelPath = path.dirname(source);
  const name = path.basename(source);
  // Not used for token ids, but everyone who serves text loads one.
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
      const clock = new Clock();
      const output = await model.generate({
        input_ids: new Tensor('int64', ids, dims),
        attention_mask: new Tensor('int64', new BigInt64Array(ids.length).fill(1n), dims),
        max_new_tokens: tokens,
        do_sample: false,
        stopping_criteria: clock,
      });
      const rows = (output as Tensor).tolist() as bigint[][];
      return rows.map((row) => ({ marks: clock.marks, tokenIds: row.slice(dims[1]).map(Number) }));
    },
    async close() {
      await model.dispose();
    },
  };
});
