// The KV cache of a batch: per layer two arrays [rows, KV, T, hd], so that the first B rows are an ONNX tensor without a
// copy. Rows are dense: a removed row is replaced by the last one. T grows in steps, because the cost of a decoding step
// grows with T, however short the rows are. Outgrown arrays are freed immediately and one by one: the garbage collector
// does not see their size, and memory that holds one cache may not hold two.
import type { Architecture } from '../model/architecture.ts';

/** The dimensions that determine the size of keys and values. */
export type KvShape = Pick<Architecture, 'layers' | 'kvHeads' | 'headDim'>;

/**
 * Keys and values of consecutive positions of one sequence, such as a prompt's chunk, to be appended to a row.
 * data [layers · 2, KV, length, hd]: per layer the keys, then the values.
 */
export type KvBlock = { length: number; data: Float32Array };

/** Bytes per position of one sequence. */
export function kvBytesPerPosition({ layers, kvHeads, headDim }: KvShape): number {
  return layers * 2 * kvHeads * headDim * Float32Array.BYTES_PER_ELEMENT;
}

const LENGTH_STEP = 64;

/** T for a row of this length. The last position stays free, because only then are the graph's sums exact over padding. */
export function allocatedLengthFor(length: number): number {
  return Math.ceil((length + 1) / LENGTH_STEP) * LENGTH_STEP;
}

/** Bytes of a row that is up to `length` positions long. */
export function kvBytesPerRow(shape: KvShape, length: number): number {
  return allocatedLengthFor(length) * kvBytesPerPosition(shape);
}

/** The longest row that fits into `allocatedLength` positions. */
export function maxLengthWithin(allocatedLength: number): number {
  return Math.floor(allocatedLength / LENGTH_STEP) * LENGTH_STEP - 1;
}

export class KvCache {
  /** The number of filled positions of each row. */
  readonly lengths: number[] = [];
  /** T: positions allocated per row. */
  allocatedLength = 0;
  /** Per layer the keys, then the values. */
  readonly arrays: Float32Array[];
  /** Increases whenever the arrays are replaced, which invalidates tensors over them. */
  version = 0;
  /** Rows allocated. */
  private rowCapacity = 0;
  private readonly shape: KvShape;
  private readonly maxBytes: number;

  /** `maxBytes` limits the spare rows, which save copies when rows join; rows in use are not limited. */
  constructor(shape: KvShape, maxBytes = Number.POSITIVE_INFINITY) {
    this.shape = shape;
    this.maxBytes = maxBytes;
    this.arrays = Array.from({ length: 2 * shape.layers }, () => new Float32Array(0));
  }

  get bytes(): number {
    return this.computeBytes(this.rowCapacity, this.allocatedLength);
  }

  /** Adds an empty row with room for `length` positions; returns its index. */
  addRow(length = 0): number {
    this.lengths.push(0);
    if (length > 0 || this.allocatedLength > 0) this.grow(length);
    return this.lengths.length - 1;
  }

  /** Makes room for `length` positions in each row, so that appending them copies nothing again. */
  reserve(length: number): void {
    this.grow(length);
  }

  /** Removes a row; the last row takes its index. A row with NaN must be wiped: 0 · NaN is NaN in a later row's sums. */
  removeRow(row: number, { wipe = false } = {}): void {
    const last = this.lengths.length - 1;
    const stride = this.shape.kvHeads * this.allocatedLength * this.shape.headDim;
    if (wipe) for (const array of this.arrays) array.fill(0, row * stride, (row + 1) * stride);
    if (row !== last) {
      this.lengths[row] = this.lengths[last]!;
      for (const array of this.arrays)
        this.copyRow(array, this.allocatedLength, last, array, this.allocatedLength, row);
    }
    this.lengths.pop();
    this.shrink();
  }

  /** Appends a block to a row. */
  appendBlock(row: number, { length, data }: KvBlock): void {
    const { kvHeads, headDim } = this.shape;
    const start = this.lengths[row]!;
    this.grow(start + length);
    let source = 0;
    for (const array of this.arrays) {
      for (let head = 0; head < kvHeads; head++) {
        const target = ((row * kvHeads + head) * this.allocatedLength + start) * headDim;
        array.set(data.subarray(source, source + length * headDim), target);
        source += length * headDim;
      }
    }
    this.lengths[row] = start + length;
  }

  /** Appends one position to every row. newKv [rows, layers · 2 · KV, 1, hd] */
  appendStep(newKv: Float32Array): void {
    this.grow(Math.max(...this.lengths) + 1);
    const { kvHeads, headDim } = this.shape;
    let source = 0;
    for (let row = 0; row < this.lengths.length; row++) {
      const position = this.lengths[row]!++;
      for (const array of this.arrays) {
        for (let head = 0; head < kvHeads; head++) {
          const target = ((row * kvHeads + head) * this.allocatedLength + position) * headDim;
          for (let i = 0; i < headDim; i++) array[target + i] = newKv[source + i]!;
          source += headDim;
        }
      }
    }
  }

  /** Removes all rows and frees their memory. */
  clear(): void {
    this.lengths.length = 0;
    this.shrink();
  }

  private computeBytes(rows: number, allocatedLength: number): number {
    return rows * allocatedLength * kvBytesPerPosition(this.shape);
  }

  private grow(length: number): void {
    const rows = this.lengths.length;
    const allocated = Math.max(this.allocatedLength, allocatedLengthFor(length));
    const fits = rows <= this.rowCapacity && this.computeBytes(this.rowCapacity, allocated) <= this.maxBytes;
    this.resize(fits ? this.rowCapacity : this.rowCapacityFor(rows, allocated), allocated);
  }

  /** Shrinks only to half the length or a quarter of the rows, so that growing and shrinking do not alternate. */
  private shrink(): void {
    const rows = this.lengths.length;
    if (rows === 0) {
      this.resize(0, 0);
      return;
    }
    const needed = allocatedLengthFor(Math.max(...this.lengths));
    const allocated = 2 * needed <= this.allocatedLength ? needed : this.allocatedLength;
    this.resize(4 * rows <= this.rowCapacity ? this.rowCapacityFor(rows, allocated) : this.rowCapacity, allocated);
  }

  /** The next power of two if it is within maxBytes, else exactly `rows`. */
  private rowCapacityFor(rows: number, allocated: number): number {
    const capacity = 2 ** Math.ceil(Math.log2(rows));
    return this.computeBytes(capacity, allocated) <= this.maxBytes ? capacity : rows;
  }

  private resize(capacity: number, allocated: number): void {
    if (capacity === this.rowCapacity && allocated === this.allocatedLength) return;
    const { kvHeads, headDim } = this.shape;
    for (const [i, old] of this.arrays.entries()) {
      const array = new Float32Array(capacity * kvHeads * allocated * headDim);
      for (let row = 0; row < this.lengths.length; row++) {
        if (row < this.rowCapacity) this.copyRow(old, this.allocatedLength, row, array, allocated, row);
      }
      this.arrays[i] = array;
      (old.buffer as ArrayBuffer).transfer(0);
    }
    this.rowCapacity = capacity;
    this.allocatedLength = allocated;
    this.version++;
  }

  private copyRow(
    from: Float32Array,
    fromAllocated: number,
    fromRow: number,
    to: Float32Array,
    toAllocated: number,
    toRow: number,
  ): void {
    const { kvHeads, headDim } = this.shape;
    const filled = this.lengths[toRow]! * headDim;
    for (let head = 0; head < kvHeads; head++) {
      const start = (fromRow * kvHeads + head) * fromAllocated * headDim;
      to.set(from.subarray(start, start + filled), (toRow * kvHeads + head) * toAllocated * headDim);
    }
  }
}

/** newKv [rows, layers · 2 · KV, steps, hd] → the first `length` positions of one row. */
export function extractKvBlock(
  shape: KvShape,
  newKv: Float32Array,
  row: number,
  steps: number,
  length: number,
): KvBlock {
  const { headDim } = shape;
  const heads = shape.layers * 2 * shape.kvHeads;
  const rowKv = newKv.subarray(row * heads * steps * headDim, (row + 1) * heads * steps * headDim);
  if (rowKv.length === newKv.length && length === steps) return { length, data: rowKv };
  const data = new Float32Array(heads * length * headDim);
  for (let head = 0; head < heads; head++) {
    const start = head * steps * headDim;
    data.set(rowKv.subarray(start, start + length * headDim), head * length * headDim);
  }
  return { length, data };
}
