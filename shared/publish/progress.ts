// What publishing a policy reports while it works. A listener may throw, which ends the work as a failure.
import { type LazyWeights, readTensor } from '../model/tensor.ts';

export type PublishProgress = { stage: string; done: number; total: number };
export type PublishListener = (progress: PublishProgress) => void;

/** The weights, with each tensor reported when it has been read, as one stage of the work; a rotation reads some again. */
export function reportReads(weights: LazyWeights, stage: string, onProgress: PublishListener): LazyWeights {
  const seen = new Set<string>();
  return new Map(
    Array.from(weights, ([name, tensor]) => {
      const read = async () => {
        const { data } = await readTensor(tensor);
        onProgress({ stage, done: seen.add(name).size, total: weights.size });
        return data;
      };
      return [name, { shape: tensor.shape, read }];
    }),
  );
}
