// Runs a policy's serving graph over the rows of a KV cache and returns the logits after each row's last token. The
// session is passed in: native ONNX Runtime on Node, WebAssembly in a Worker.
import type { InferenceSession, Tensor, TensorConstructor } from 'onnxruntime-node';
import type { Architecture } from '../model/architecture.ts';
import { type KvFormat, kvBytesPerPosition } from '../onnx/kv-format.ts';
import { DecodeOutputs, GraphInputs } from './graph-io.ts';
import { extractKvBlock, type KvBlock, KvCache, type NewKv } from './kv-cache.ts';

/** The part of InferenceSession that the decoder uses. It writes into `fetches` if they are given. */
export type DecoderSession = {
  readonly inputMetadata: InferenceSession['inputMetadata'];
  run(feeds: Record<string, Tensor>, fetches?: Record<string, Tensor>): Promise<Record<string, unknown>>;
  release(): Promise<void>;
};

/** logits [rows, V] and logNormalizers [rows], their log-sum-exp. The next decoding step overwrites them. */
export type DecoderOutput = { logits: Float32Array; logNormalizers: Float32Array };

/** The result for consecutive tokens of one sequence: their keys and values, and the logits [V] after the last one. */
export type PrefillOutput = { block: KvBlock; logits: Float32Array; logNormalizer: number };

export class Decoder {
  readonly architecture: Architecture;
  /** Whether the graph computes the logits of several tokens of a row. Those of older packages do not. */
  readonly scoresChunks: boolean;
  /** Of keys and values, per position of one sequence. */
  readonly kvBytesPerPosition: number;
  private readonly kvFormat: KvFormat;
  private readonly session: DecoderSession;
  private readonly Tensor: TensorConstructor;
  /** The inputs of the last decoding step, reused by the next one if the shapes are the same. */
  private inputs: GraphInputs | null = null;
  private readonly outputs: DecodeOutputs;

  constructor(session: DecoderSession, tensor: TensorConstructor, architecture: Architecture) {
    this.session = session;
    this.Tensor = tensor;
    this.architecture = architecture;
    this.kvFormat = findInputType(session, 'past_key.0') === 'uint8' ? 'int8' : 'float32';
    this.kvBytesPerPosition = kvBytesPerPosition(architecture, this.kvFormat);
    this.outputs = new DecodeOutputs(tensor, architecture, this.kvFormat);
    this.scoresChunks = hasSeveralOutputs(session);
  }

  createCache(maxBytes?: number): KvCache {
    return new KvCache(this.architecture, this.kvFormat, maxBytes);
  }

  /** Appends tokens[row] to each row of the cache and returns the logits after them. */
  async forward(cache: KvCache, tokens: readonly (readonly number[])[]): Promise<DecoderOutput> {
    if (tokens.every(({ length }) => length === 1)) return this.decode(cache, tokens);
    const { vocabSize } = this.architecture;
    const logits = new Float32Array(tokens.length * vocabSize);
    const outputs = await this.prefill(cache, tokens);
    for (const [row, output] of outputs.entries()) {
      cache.appendBlock(row, output.block);
      logits.set(output.logits, row * vocabSize);
    }
    return { logits, logNormalizers: Float32Array.from(outputs, ({ logNormalizer }) => logNormalizer) };
  }

  /**
   * Computes tokens[row] after each row of the cache, without changing the cache. Several rows must be empty, and may get
   * different numbers of tokens: their padding is at the end of every sum and does not change it.
   */
  async prefill(cache: KvCache, tokens: readonly (readonly number[])[]): Promise<PrefillOutput[]> {
    const steps = Math.max(...tokens.map(({ length }) => length));
    this.assertShapes(cache, tokens, steps);
    const inputs = new GraphInputs(this.Tensor, cache, steps);
    inputs.fill(tokens);
    const outputs = await this.session.run(inputs.feeds);
    const [logits, logNormalizers, newKv] = readOutputs(outputs);
    const { vocabSize } = this.architecture;
    return tokens.map(({ length }, row) => ({
      block: extractKvBlock(this.architecture, newKv, row, steps, length),
      logits: tokens.length === 1 ? logits : logits.slice(row * vocabSize, (row + 1) * vocabSize),
      logNormalizer: logNormalizers[row]!,
    }));
  }

  /**
   * As prefill, for the only row of the cache. Also returns the log-probability of targets[i], the token that follows
   * tokens[i]; a last one without target is allowed.
   */
  async prefillAndScore(
    cache: KvCache,
    tokens: readonly number[],
    targets: readonly number[],
  ): Promise<{ output: PrefillOutput; logprobs: number[] }> {
    this.assertShapes(cache, [tokens], tokens.length);
    const inputs = new GraphInputs(this.Tensor, cache, tokens.length, tokens.length);
    inputs.fill([tokens]);
    const outputs = await this.session.run(inputs.feeds);
    const [logits, logNormalizers, newKv] = readOutputs(outputs);
    const { vocabSize } = this.architecture;
    const last = tokens.length - 1;
    return {
      output: {
        block: extractKvBlock(this.architecture, newKv, 0, tokens.length, tokens.length),
        logits: logits.slice(last * vocabSize),
        logNormalizer: logNormalizers[last]!,
      },
      logprobs: targets.map((target, i) => logits[i * vocabSize + target]! - logNormalizers[i]!),
    };
  }

  release(): Promise<void> {
    return this.session.release();
  }

  private async decode(cache: KvCache, tokens: readonly (readonly number[])[]): Promise<DecoderOutput> {
    this.assertShapes(cache, tokens, 1);
    if (!this.inputs?.fits(cache, 1)) this.inputs = new GraphInputs(this.Tensor, cache, 1);
    this.inputs.fill(tokens);
    this.outputs.resizeFor(tokens.length);
    await this.session.run(this.inputs.feeds, this.outputs.fetches);
    cache.appendStep(this.outputs.newKv);
    return this.outputs;
  }

  private assertShapes(cache: KvCache, tokens: readonly (readonly number[])[], steps: number): void {
    const rows = cache.lengths.length;
    if (rows !== tokens.length) throw new Error(`internal: decoder: ${tokens.length} rows of tokens, ${rows} of cache`);
    if (rows > 1 && steps > 1 && cache.lengths.some((length) => length > 0))
      throw new Error('internal: decoder: several tokens of several rows need empty rows');
  }
}

function hasSeveralOutputs({ inputMetadata }: DecoderSession): boolean {
  const input = inputMetadata.find(({ name }) => name === 'last_index');
  return input?.isTensor === true && input.shape[1] !== 1;
}

function findInputType({ inputMetadata }: DecoderSession, name: string): string | null {
  const input = inputMetadata.find((metadata) => metadata.name === name);
  return input?.isTensor ? input.type : null;
}

function readOutputs({ logits, log_normalizer, new_kv, new_kv_scale }: Record<string, unknown>) {
  return [toFloat32Array(logits), toFloat32Array(log_normalizer), readNewKv(new_kv, new_kv_scale)] as const;
}

function readNewKv(newKv: unknown, scales: unknown): NewKv {
  const data = (newKv as Tensor).data;
  return data instanceof Uint8Array
    ? { data, scales: toFloat32Array(scales) }
    : { data: toFloat32Array(newKv), scales: null };
}

function toFloat32Array(output: unknown): Float32Array {
  const data = (output as Tensor | undefined)?.data;
  if (!(data instanceof Float32Array)) throw new Error('internal: decoder: the serving graph has no float32 output');
  return data;
}
