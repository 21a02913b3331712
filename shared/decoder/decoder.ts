// Runs a policy's serving graph over the rows of a cache, and gives the logits after each row's last token. It takes the
// runtime's session from outside, native or WebAssembly.
import type { Tensor, TensorConstructor } from 'onnxruntime-node';
import type { Architecture } from '../model/architecture.ts';
import { DecodeOutputs, GraphInputs } from './graph-io.ts';
import { extractKvBlock, type KvBlock, KvCache } from './kv-cache.ts';

/** What is needed of the runtime's session: it writes into the fetches where there are any. */
export type DecoderSession = {
  run(feeds: Record<string, Tensor>, fetches?: Record<string, Tensor>): Promise<Record<string, unknown>>;
  release(): Promise<void>;
};

/** logits [rows, V] and each row's log-sum-exp; the next step over the same cache may overwrite them. */
export type DecoderOutput = { logits: Float32Array; logNormalizers: Float32Array };

/** What some tokens of one sequence came to: their keys and values, and the logits [V] after the last of them. */
export type PrefillOutput = { block: KvBlock; logits: Float32Array; logNormalizer: number };

export class Decoder {
  readonly architecture: Architecture;
  private readonly session: DecoderSession;
  private readonly Tensor: TensorConstructor;
  /** Those of the last decoding step, for the next one. */
  private inputs: GraphInputs | null = null;
  private readonly outputs: DecodeOutputs;

  constructor(session: DecoderSession, tensor: TensorConstructor, architecture: Architecture) {
    this.session = session;
    this.Tensor = tensor;
    this.architecture = architecture;
    this.outputs = new DecodeOutputs(tensor, architecture);
  }

  createCache(maxBytes?: number): KvCache {
    return new KvCache(this.architecture, maxBytes);
  }

  /** tokens[row] are the next tokens of each row of the cache, which grows by them. */
  async forward(cache: KvCache, tokens: readonly (readonly number[])[]): Promise<DecoderOutput> {
    if (tokens.every(({ length }) => length === 1)) return this.decode(cache, tokens);
    const { vocabSize } = this.architecture;
    const logits = new Float32Array(tokens.length * vocabSize);
    const computed = await this.prefill(cache, tokens);
    for (const [row, { block, logits: own }] of computed.entries()) {
      cache.appendBlock(row, block);
      logits.set(own, row * vocabSize);
    }
    return { logits, logNormalizers: Float32Array.from(computed, ({ logNormalizer }) => logNormalizer) };
  }

  /**
   * Computes what follows each row of the cache and leaves the cache as it is. Rows that hold nothing yet may get
   * different numbers of tokens: padding at the end of the new tokens is then at the end of all sums, and changes none.
   */
  async prefill(cache: KvCache, tokens: readonly (readonly number[])[]): Promise<PrefillOutput[]> {
    const steps = Math.max(...tokens.map(({ length }) => length));
    this.assertShapes(cache, tokens, steps);
    const inputs = new GraphInputs(this.Tensor, this.architecture, cache, steps);
    inputs.fill(tokens);
    const outputs = await this.session.run(inputs.feeds);
    const [logits, logNormalizers, fresh] = [outputs.logits, outputs.log_normalizer, outputs.new_kv].map(
      toFloat32Array,
    );
    const { vocabSize } = this.architecture;
    return tokens.map(({ length }, row) => ({
      block: extractKvBlock(this.architecture, fresh!, row, steps, length),
      logits: tokens.length === 1 ? logits! : logits!.slice(row * vocabSize, (row + 1) * vocabSize),
      logNormalizer: logNormalizers![row]!,
    }));
  }

  release(): Promise<void> {
    return this.session.release();
  }

  private async decode(cache: KvCache, tokens: readonly (readonly number[])[]): Promise<DecoderOutput> {
    this.assertShapes(cache, tokens, 1);
    if (!this.inputs?.fits(cache, 1)) this.inputs = new GraphInputs(this.Tensor, this.architecture, cache, 1);
    this.inputs.fill(tokens);
    this.outputs.resizeFor(tokens.length);
    await this.session.run(this.inputs.feeds, this.outputs.fetches);
    cache.appendStep(this.outputs.newKv);
    return this.outputs;
  }

  private assertShapes(cache: KvCache, tokens: readonly (readonly number[])[], steps: number): void {
    const rows = cache.lengths.length;
    if (rows !== tokens.length) throw new Error(`internal: decoder: ${tokens.length} rows of tokens, ${rows} of cache`);
    const isRagged = tokens.some(({ length }) => length !== steps);
    if (isRagged && cache.lengths.some((length) => length > 0)) {
      throw new Error('internal: decoder: rows that hold something need the same number of tokens');
    }
  }
}

function toFloat32Array(output: unknown): Float32Array {
  const data = (output as Tensor | undefined)?.data;
  if (!(data instanceof Float32Array)) throw new Error('internal: the serving graph gave no float32 output');
  return data;
}
