// Runs a policy's serving graph over the rows of a cache: one call appends the same number of tokens to every row and
// gives the logits after each row's last one. It takes the runtime's session from outside, native or WebAssembly.
import type { InferenceSession, Tensor, TensorConstructor } from 'onnxruntime-node';
import type { Architecture } from '../policy/architecture.ts';
import { KvCache } from './cache.ts';

/** logits [rows, V] and each row's log-sum-exp. */
export type DecoderOutput = { logits: Float32Array; logNormalizers: Float32Array };

export class Decoder {
  readonly architecture: Architecture;
  private readonly session: InferenceSession;
  private readonly Tensor: TensorConstructor;

  constructor(session: InferenceSession, tensor: TensorConstructor, architecture: Architecture) {
    this.session = session;
    this.Tensor = tensor;
    this.architecture = architecture;
  }

  createCache(): KvCache {
    return new KvCache(this.architecture);
  }

  /** tokens[row] are the next tokens of each row of the cache, the same number for all; the cache grows by them. */
  async run(cache: KvCache, tokens: number[][]): Promise<DecoderOutput> {
    const rows = tokens.length;
    const steps = tokens[0]!.length;
    if (rows !== cache.lengths.length)
      throw new Error(`internal: ${rows} rows of tokens, ${cache.lengths.length} rows`);
    const { Tensor } = this;
    const ids = BigInt64Array.from(tokens.flat(), BigInt);
    const positions = cache.lengths.flatMap((length) => Array.from({ length: steps }, (_, step) => length + step));
    const feeds: Record<string, Tensor> = {
      ...this.pastOf(cache),
      input_ids: new Tensor('int64', ids, [rows, steps]),
      position_ids: new Tensor('int64', BigInt64Array.from(positions, BigInt), [rows, steps]),
      past_length: new Tensor('int64', BigInt64Array.from(cache.lengths, BigInt), [rows]),
      last_index: new Tensor('int64', new BigInt64Array(rows).fill(BigInt(steps - 1)), [rows, 1]),
    };
    const outputs = await this.session.run(feeds);
    cache.append(floats(outputs.new_kv), steps);
    return { logits: floats(outputs.logits), logNormalizers: floats(outputs.log_normalizer) };
  }

  release(): Promise<void> {
    return this.session.release();
  }

  /** Views of the cache's rows [B, KV, T, hd]. A cache that holds nothing yet is passed as T = 0. */
  private pastOf(cache: KvCache): Record<string, Tensor> {
    const { kvHeads, headDim } = this.architecture;
    const rows = cache.lengths.length;
    const allocated = cache.lengths.every((length) => length === 0) ? 0 : cache.allocated;
    const size = rows * kvHeads * allocated * headDim;
    const past: Record<string, Tensor> = {};
    for (const [i, array] of cache.arrays.entries()) {
      const name = `past_${i % 2 === 0 ? 'key' : 'value'}.${i >> 1}`;
      past[name] = new this.Tensor('float32', array.subarray(0, size), [rows, kvHeads, allocated, headDim]);
    }
    return past;
  }
}

function floats(tensor: Tensor | undefined): Float32Array {
  if (!(tensor?.data instanceof Float32Array)) throw new Error('internal: the serving graph gave no float32 output');
  return tensor.data;
}
