// Keys and values of the rows that decode together: per layer one array [rows, KV, T, hd], so that the first B rows are
// one ONNX tensor without a copy. Rows are dense: when one leaves, the last takes its place. T grows in steps, because
// the cost of a decoding step grows with it whatever the rows' own lengths are. Arrays that are outgrown are freed at
// once and one by one: the garbage collector does not see their size, and two caches would not fit where one does.
import type { Architecture } from '../model/architecture.ts';

const LENGTH_STEP = 64;

/** T that a row of this length needs: the graph's reductions are exact over padding if the last position is padding. */
export function allocatedLengthFor(length: number): number {
  return Math.ceil((length + 1) / LENGTH_STEP) * LENGTH_STEP;
}

/** The longest row that so many allocated positions hold. */
export function maxLengthWithin(allocated: number): number {
  return Math.floor(allocated / LENGTH_STEP) * LENGTH_STEP - 1;
}

export class KvCache {
  /** How many positions of each row are filled; its length is the number of rows. */
  readonly lengths: number[] = [];
  /** T: positions allocated per row. */
  allocatedLength = 0;
  /** Per layer the keys, then the values. */
  readonly arrays: Float32Array[];
  /** Counts how often the arrays were replaced: what points into them is good for one version. */
  version = 0;
  private rowCapacity = 0;
  private readonly shape: KvShape;
  private readonly maxBytes: number;

  /** Spare rows, which save copies when rows join, are kept within `maxBytes`; what is in use is not limited here. */
  constructor(shape: KvShape, maxBytes = Number.POSITIVE_INFINITY) {
    this.shape = shape;
    this.maxBytes = maxBytes;
    this.arrays = Array.from({ length: 2 * shape.layers }, () => new Float32Array(0));
  }

  get bytes(): number {
    return this.bytesOf(this.rowCapacity, this.allocatedLength);
  }

  /** Adds an empty row with room for `length` positions and returns its place. */
  addRow(length = 0): number {
    this.lengths.push(0);
    if (length > 0 || this.allocatedLength > 0) this.grow(length);
    return this.lengths.length - 1;
  }

  /** Removes a row; the last row moves into its place. A row that held NaN must be wiped: 0 · NaN is NaN to the next. */
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
    const at = this.lengths[row]!;
    this.grow(at + length);
    let source = 0;
    for (const array of this.arrays) {
      for (let head = 0; head < kvHeads; head++) {
        const target = ((row * kvHeads + head) * this.allocatedLength + at) * headDim;
        array.set(data.subarray(source, source + length * headDim), target);
        source += length * headDim;
      }
    }
    this.lengths[row] = at + length;
  }

  /** Appends one position to every row, from the graph's new_kv [rows, layers · 2 · KV, 1, hd]. */
  appendStep(fresh: Float32Array): void {
    this.grow(Math.max(...this.lengths) + 1);
    const { kvHeads, headDim } = this.shape;
    let source = 0;
    for (let row = 0; row < this.lengths.length; row++) {
      const position = this.lengths[row]!++;
      for (const array of this.arrays) {
        for (let head = 0; head < kvHeads; head++) {
          const target = ((row * kvHeads + head) * this.allocatedLength + position) * headDim;
          for (let i = 0; i < headDim; i++) array[target + i] = fresh[source + i]!;
          source += headDim;
        }
      }
    }
  }

  /** Lets go of all rows and their memory. */
  clear(): void {
    this.lengths.length = 0;
    this.shrink();
  }

  private bytesOf(rows: number, allocated: number): number {
    return rows * allocated * kvBytesPerPosition(this.shape);
  }

  private grow(length: number): void {
    const rows = this.lengths.length;
    const allocated = Math.max(this.allocatedLength, allocatedLengthFor(length));
    const isRoomy = rows <= this.rowCapacity && this.bytesOf(this.rowCapacity, allocated) <= this.maxBytes;
    this.resize(isRoomy ? this.rowCapacity : this.rowCapacityFor(rows, allocated), allocated);
  }

  /** Late, so that a row that comes and goes around a border does not copy everything each time. */
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

  private rowCapacityFor(rows: number, allocated: number): number {
    const spare = 2 ** Math.ceil(Math.log2(rows));
    return this.bytesOf(spare, allocated) <= this.maxBytes ? spare : rows;
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

/** What the size of keys and values depends on. */
export type KvShape = Pick<Architecture, 'layers' | 'kvHeads' | 'headDim'>;

/** data [layers · 2, KV, length, hd]: per layer the keys, then the values. */
export type KvBlock = { length: number; data: Float32Array };

/** Bytes that one position of one sequence takes. */
export function kvBytesPerPosition({ layers, kvHeads, headDim }: KvShape): number {
  return layers * 2 * kvHeads * headDim * Float32Array.BYTES_PER_ELEMENT;
}

/** new_kv [rows, layers · 2 · KV, steps, hd] → the first `length` positions of one row. */
export function extractKvBlock(
  shape: KvShape,
  fresh: Float32Array,
  row: number,
  steps: number,
  length: number,
): KvBlock {
  const { headDim } = shape;
  const heads = shape.layers * 2 * shape.kvHeads;
  const own = fresh.subarray(row * heads * steps * headDim, (row + 1) * heads * steps * headDim);
  if (own.length === fresh.length && length === steps) return { length, data: own };
  const data = new Float32Array(heads * length * headDim);
  for (let head = 0; head < heads; head++) {
    const begin = head * steps * headDim;
    data.set(own.subarray(begin, begin + length * headDim), head * length * headDim);
  }
  return { length, data };
}
