// The serving graph's input and output tensors. Consecutive decoding steps have the same shapes unless a row joined or
// left or the cache grew, so the tensors are kept between steps and only their values change.
import type { Tensor, TensorConstructor } from 'onnxruntime-node';
import type { Architecture } from '../model/architecture.ts';
import type { KvFormat } from '../onnx/kv-format.ts';
import type { KvCache, NewKv } from './kv-cache.ts';

/** The inputs of one run over a KV cache, for `steps` new tokens per row. */
export class GraphInputs {
  readonly feeds: Record<string, Tensor>;
  readonly rows: number;
  readonly steps: number;
  private readonly cache: KvCache;
  private readonly version: number;
  private readonly isEmpty: boolean;
  private readonly ids: BigInt64Array;
  private readonly positions: BigInt64Array;
  private readonly pastLengths: BigInt64Array;
  private readonly lastIndices: BigInt64Array;

  /** `outputs`: of how many tokens of a row, the last ones, the logits are wanted. */
  constructor(tensor: TensorConstructor, cache: KvCache, steps: number, outputs = 1) {
    const rows = cache.lengths.length;
    this.cache = cache;
    this.version = cache.version;
    this.isEmpty = isEmpty(cache);
    this.rows = rows;
    this.steps = steps;
    this.ids = new BigInt64Array(rows * steps);
    this.positions = new BigInt64Array(rows * steps);
    this.pastLengths = new BigInt64Array(rows);
    this.lastIndices = new BigInt64Array(rows * outputs);
    this.feeds = {
      input_ids: new tensor('int64', this.ids, [rows, steps]),
      position_ids: new tensor('int64', this.positions, [rows, steps]),
      past_length: new tensor('int64', this.pastLengths, [rows]),
      last_index: new tensor('int64', this.lastIndices, [rows, outputs]),
    };
    // An empty cache is passed as T = 0.
    const allocated = this.isEmpty ? 0 : cache.allocatedLength;
    const { planes } = cache;
    for (const [i, array] of cache.arrays.entries()) {
      const { name, type, outer, inner, dims } = planes[i % planes.length]!;
      const used = array.subarray(0, rows * outer * allocated * inner);
      this.feeds[`${name}.${Math.floor(i / planes.length)}`] = createTensor(tensor, type, used, dims(rows, allocated));
    }
  }

  /** Whether these tensors are valid for the cache in its present state. */
  fits(cache: KvCache, steps: number): boolean {
    return (
      this.cache === cache &&
      this.version === cache.version &&
      this.rows === cache.lengths.length &&
      this.steps === steps &&
      this.isEmpty === isEmpty(cache)
    );
  }

  /** Sets each row's new tokens; shorter rows are padded at the end. */
  fill(tokens: readonly (readonly number[])[]): void {
    for (let row = 0; row < this.rows; row++) {
      const rowTokens = tokens[row]!;
      const length = this.cache.lengths[row]!;
      for (let step = 0; step < rowTokens.length; step++) {
        this.ids[row * this.steps + step] = BigInt(rowTokens[step]!);
        this.positions[row * this.steps + step] = BigInt(length + step);
      }
      this.pastLengths[row] = BigInt(length);
      const outputs = this.lastIndices.length / this.rows;
      for (let i = 0; i < outputs; i++) this.lastIndices[row * outputs + i] = BigInt(rowTokens.length - outputs + i);
    }
  }
}

function createTensor(
  TensorType: TensorConstructor,
  type: 'float32' | 'uint8',
  data: Float32Array | Uint8Array,
  dims: number[],
): Tensor {
  return type === 'uint8'
    ? new TensorType(type, data as Uint8Array, dims)
    : new TensorType(type, data as Float32Array, dims);
}

function isEmpty(cache: KvCache): boolean {
  return cache.lengths.every((length) => length === 0);
}

/**
 * The outputs of a decoding step: buffers that the runtime writes into, kept between steps. Without them each step would
 * allocate and copy its logits, two megabytes for 16 rows of 32,000.
 */
export class DecodeOutputs {
  fetches: Record<string, Tensor> = {};
  /** [rows, V] */
  logits = new Float32Array(0);
  /** [rows] */
  logNormalizers = new Float32Array(0);
  newKv: NewKv;
  private readonly Tensor: TensorConstructor;
  private readonly vocabSize: number;
  /** layers · 2 · KV */
  private readonly kvRows: number;
  private readonly headDim: number;

  constructor(tensor: TensorConstructor, { vocabSize, layers, kvHeads, headDim }: Architecture, format: KvFormat) {
    this.Tensor = tensor;
    this.vocabSize = vocabSize;
    this.kvRows = layers * 2 * kvHeads;
    this.headDim = headDim;
    this.newKv =
      format === 'int8'
        ? { data: new Uint8Array(0), scales: new Float32Array(0) }
        : { data: new Float32Array(0), scales: null };
  }

  /** Resizes the buffers for a step of `rows` rows. */
  resizeFor(rows: number): void {
    if (this.logNormalizers.length === rows) return;
    const { Tensor, vocabSize, kvRows, headDim, newKv } = this;
    this.logits = resize(this.logits, rows * vocabSize);
    this.logNormalizers = resize(this.logNormalizers, rows);
    const dims = [rows, kvRows, 1, headDim];
    this.fetches = {
      logits: new Tensor('float32', this.logits, [rows, vocabSize]),
      log_normalizer: new Tensor('float32', this.logNormalizers, [rows]),
    };
    if (newKv.scales === null) {
      newKv.data = resize(newKv.data as Float32Array<ArrayBuffer>, rows * kvRows * headDim);
      this.fetches.new_kv = createTensor(Tensor, 'float32', newKv.data, dims);
      return;
    }
    newKv.data = new Uint8Array(rows * kvRows * headDim);
    newKv.scales = new Float32Array(rows * kvRows);
    this.fetches.new_kv = createTensor(Tensor, 'uint8', newKv.data, dims);
    this.fetches.new_kv_scale = createTensor(Tensor, 'float32', newKv.scales, [rows, kvRows, 1]);
  }
}

/** An array of `length` numbers, over the same memory if that is large enough. */
function resize(array: Float32Array<ArrayBuffer>, length: number): Float32Array<ArrayBuffer> {
  const bytes = length * array.BYTES_PER_ELEMENT;
  return bytes <= array.buffer.byteLength ? new Float32Array(array.buffer, 0, length) : new Float32Array(length);
}
