// Log-probabilities of a text from a package's float32 graph, independent of the engine.

import path from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { readManifest } from '../shared/package/files.ts';

/** The log-probability of each of `tokenIds` given the prompt and the preceding tokens. */
export async function recomputeLogps(folder: string, promptIds: number[], tokenIds: number[]): Promise<number[]> {
  const session = await InferenceSession.create(path.join(folder, 'onnx', 'model.onnx'));
  const { kvHeads, headDim, vocabSize } = (await readManifest(folder)).architecture;
  const ids = [...promptIds, ...tokenIds];
  const toTensor = (values: number[]) => new Tensor('int64', BigInt64Array.from(values, BigInt), [1, values.length]);
  const feeds: Record<string, Tensor> = {
    input_ids: toTensor(ids),
    position_ids: toTensor([...ids.keys()]),
    attention_mask: toTensor(ids.map(() => 1)),
  };
  const noPast = new Tensor('float32', new Float32Array(0), [1, kvHeads, 0, headDim]);
  for (const name of session.inputNames) feeds[name] ??= noPast;
  const { logits } = await session.run(feeds);
  await session.release();
  return tokenIds.map((token, i) => {
    const from = (promptIds.length + i - 1) * vocabSize;
    const row = (logits!.data as Float32Array).subarray(from, from + vocabSize);
    return row[token]! - Math.log(row.reduce((sum, logit) => sum + Math.exp(logit), 0));
  });
}
