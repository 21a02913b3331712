// The logits of a policy package, computed with the decoder and cache that serve.
import path from 'node:path';
import { Tensor } from 'onnxruntime-node';
import { Decoder } from '../../shared/decoder/decoder.ts';
import { openSession } from '../../shared/decoder/session.ts';
import { readArchitecture } from '../../shared/model/checkpoint.ts';
import type { LogitsPeer } from './accuracy.ts';

export async function openAttuneLogits(folder: string, threads: number): Promise<LogitsPeer> {
  const session = await openSession(path.join(folder, 'onnx', 'serve.onnx'), threads);
  const decoder = new Decoder(session, Tensor, await readArchitecture(folder));
  return {
    async startSequence() {
      const cache = decoder.createCache();
      cache.addRow();
      return async (tokens) => (await decoder.forward(cache, [tokens])).logits;
    },
    close: () => decoder.release(),
  };
}
