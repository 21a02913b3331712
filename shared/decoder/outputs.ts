// Where a decoding step's results go: buffers that the runtime writes into, kept from step to step. Without them each
// step would allocate and copy its logits, two megabytes for sixteen rows of 32,000.
import type { Tensor, TensorConstructor } from 'onnxruntime-node';
import type { Architecture } from '../model/architecture.ts';

export class Outputs {
  fetches: Record<string, Tensor> = {};
  /** [rows, V] */
  logits = new Float32Array(0);
  /** [rows] */
  logNormalizers = new Float32Array(0);
  /** new_kv [rows, layers · 2 · KV, 1, hd] */
  fresh = new Float32Array(0);
  private readonly Tensor: TensorConstructor;
  private readonly vocabSize: number;
  private readonly heads: number;
  private readonly headDim: number;

  constructor(tensor: TensorConstructor, { vocabSize, layers, kvHeads, headDim }: Architecture) {
    this.Tensor = tensor;
    this.vocabSize = vocabSize;
    this.heads = layers * 2 * kvHeads;
    this.headDim = headDim;
  }

  /** Makes them fit a step of so many rows. */
  shape(rows: number): void {
    if (this.logNormalizers.length === rows) return;
    const { Tensor, vocabSize, heads, headDim } = this;
    this.logits = resize(this.logits, rows * vocabSize);
    this.logNormalizers = resize(this.logNormalizers, rows);
    this.fresh = resize(this.fresh, rows * heads * headDim);
    this.fetches = {
      logits: new Tensor('float32', this.logits, [rows, vocabSize]),
      log_normalizer: new Tensor('float32', this.logNormalizers, [rows]),
      new_kv: new Tensor('float32', this.fresh, [rows, heads, 1, headDim]),
    };
  }
}

/** A view of so many numbers, over the same memory where it is large enough. */
function resize(array: Float32Array<ArrayBuffer>, length: number): Float32Array<ArrayBuffer> {
  const bytes = length * array.BYTES_PER_ELEMENT;
  return bytes <= array.buffer.byteLength ? new Float32Array(array.buffer, 0, length) : new Float32Array(length);
}
