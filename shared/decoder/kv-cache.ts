// The KV cache of a batch: per layer the arrays of its format (kv-format.ts), so that the first B rows are ONNX tensors without
// a copy. Rows are dense: a removed row is replaced by the last one. T grows in steps, because the cost of a decoding step
// grows with T, however short the rows are. Outgrown arrays are freed immediately and one by one: the garbage collector
// does not see their size, and memory that holds one cache may not hold two.
import { type KvFormat, type KvPlane, type KvShape, kvBytesPerPosition, listKvPlanes } from '../onnx/kv-format.ts';

/**
 * New keys and values as the graph returns them: data [rows, layers · 2 · KV, steps, hd], per layer the keys, then the
 * values; scales [rows, layers · 2 · KV, steps] if data are integers.
 */
export type NewKv = { data: Float32Array | Uint8Array; scales: Float32Array | null };

/** Those of consecutive positions of one sequence, such as a prompt's chunk, to be appended to a row. */
export type KvBlock = NewKv & { length: number };

const LENGTH_STEP = 64;

/** T for a row of this length. The last position stays free, because only then are the graph's sums exact over padding. */
export function allocatedLengthFor(length: number): number {
  return Math.ceil((length + 1) / LENGTH_STEP) * LENGTH_STEP;
}

/** Bytes of a row that is up to `length` positions long. */
export function kvBytesPerRow(bytesPerPosition: number, length: number): number {
  return allocatedLengthFor(length) * bytesPerPosition;
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
  /** The arrays of a layer. */
  readonly planes: readonly KvPlane[];
  /** arrays[layer · planes + plane] */
  readonly arrays: (Float32Array | Uint8Array)[];
  /** Increases whenever the arrays are replaced, which invalidates tensors over them. */
  version = 0;
  /** Rows allocated. */
  private rowCapacity = 0;
  private readonly shape: KvShape;
  private readonly bytesPerPosition: number;
  private readonly maxBytes: number;

  /** `maxBytes` limits the spare rows, which save copies when rows join; rows in use are not limited. */
  constructor(shape: KvShape, format: KvFormat, maxBytes = Number.POSITIVE_INFINITY) {
    this.shape = shape;
    this.maxBytes = maxBytes;
    this.planes = listKvPlanes(shape, format);
    this.bytesPerPosition = kvBytesPerPosition(shape, format);
    this.arrays = Array.from({ length: shape.layers }, () => this.planes.map((plane) => allocate(plane, 0))).flat();
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
    const length = this.allocatedLength;
    if (row !== last) this.lengths[row] = this.lengths[last]!;
    for (const [i, array] of this.arrays.entries()) {
      const plane = this.planeOf(i);
      const stride = plane.outer * length * plane.inner;
      if (wipe) array.fill(0, row * stride, (row + 1) * stride);
      if (row !== last) this.copyRow(plane, array, length, last, array, length, row);
    }
    this.lengths.pop();
    this.shrink();
  }

  /** Appends a block to a row. */
  appendBlock(row: number, block: KvBlock): void {
    const start = this.lengths[row]!;
    this.grow(start + block.length);
    this.write(row, start, block.length, block, 0, block.length);
    this.lengths[row] = start + block.length;
  }

  /** Appends one position to every row. */
  appendStep(newKv: NewKv): void {
    this.grow(Math.max(...this.lengths) + 1);
    for (let row = 0; row < this.lengths.length; row++) this.write(row, this.lengths[row]!++, 1, newKv, row, 1);
  }

  /** Removes all rows and frees their memory. */
  clear(): void {
    this.lengths.length = 0;
    this.shrink();
  }

  /** Writes the first `count` of a source row's `steps` positions from `start` on. */
  private write(row: number, start: number, count: number, source: NewKv, sourceRow: number, steps: number): void {
    const { layers, kvHeads } = this.shape;
    const planes = this.planes.length;
    for (let layer = 0; layer < layers; layer++) {
      for (const kind of [0, 1]) {
        const head = ((sourceRow * layers + layer) * 2 + kind) * kvHeads;
        const index = layer * planes + kind;
        this.writeVectors(this.arrays[index]!, this.planes[kind]!, row, start, count, source.data, head, steps);
        if (source.scales) this.writeScales(this.arrays[index + 2]!, row, start, count, source.scales, head, steps);
      }
    }
  }

  private writeVectors(
    target: Float32Array | Uint8Array,
    { inner }: KvPlane,
    row: number,
    start: number,
    count: number,
    source: Float32Array | Uint8Array,
    firstHead: number,
    steps: number,
  ): void {
    const { kvHeads, headDim } = this.shape;
    const length = this.allocatedLength;
    for (let head = 0; head < kvHeads; head++) {
      const from = (firstHead + head) * steps * headDim;
      const to = (row * kvHeads + head) * length * headDim;
      if (inner === 1) {
        for (let at = 0; at < headDim; at++)
          for (let step = 0; step < count; step++)
            target[to + at * length + start + step] = source[from + step * headDim + at]!;
      } else if (count === 1) {
        for (let at = 0; at < headDim; at++) target[to + start * headDim + at] = source[from + at]!;
      } else target.set(source.subarray(from, from + count * headDim), to + start * headDim);
    }
  }

  private writeScales(
    target: Float32Array | Uint8Array,
    row: number,
    start: number,
    count: number,
    source: Float32Array,
    firstHead: number,
    steps: number,
  ): void {
    const { kvHeads } = this.shape;
    for (let head = 0; head < kvHeads; head++)
      for (let step = 0; step < count; step++)
        target[(row * kvHeads + head) * this.allocatedLength + start + step] =
          source[(firstHead + head) * steps + step]!;
  }

  private planeOf(array: number): KvPlane {
    return this.planes[array % this.planes.length]!;
  }

  private computeBytes(rows: number, allocatedLength: number): number {
    return rows * allocatedLength * this.bytesPerPosition;
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
    for (const [i, old] of this.arrays.entries()) {
      const plane = this.planeOf(i);
      const array = allocate(plane, capacity * allocated);
      for (let row = 0; row < this.lengths.length; row++) {
        if (row < this.rowCapacity) this.copyRow(plane, old, this.allocatedLength, row, array, allocated, row);
      }
      this.arrays[i] = array;
      (old.buffer as ArrayBuffer).transfer(0);
    }
    this.rowCapacity = capacity;
    this.allocatedLength = allocated;
    this.version++;
  }

  private copyRow(
    { outer, inner }: KvPlane,
    from: Float32Array | Uint8Array,
    fromAllocated: number,
    fromRow: number,
    to: Float32Array | Uint8Array,
    toAllocated: number,
    toRow: number,
  ): void {
    const filled = this.lengths[toRow]! * inner;
    for (let i = 0; i < outer; i++) {
      const start = (fromRow * outer + i) * fromAllocated * inner;
      to.set(from.subarray(start, start + filled), (toRow * outer + i) * toAllocated * inner);
    }
  }
}

function allocate({ type, outer, inner }: KvPlane, positions: number): Float32Array | Uint8Array {
  const length = positions * outer * inner;
  return type === 'uint8' ? new Uint8Array(length) : new Float32Array(length);
}

/** The first `length` positions of one row. */
export function extractKvBlock(
  { layers, kvHeads, headDim }: KvShape,
  { data, scales }: NewKv,
  row: number,
  steps: number,
  length: number,
): KvBlock {
  const heads = layers * 2 * kvHeads;
  return {
    length,
    data: extractRow(data, heads, row, steps, length, headDim),
    scales: scales && extractRow(scales, heads, row, steps, length, 1),
  };
}

/** [rows, heads, steps, width] → [heads, length, width]; a view if that is all of it. */
function extractRow<A extends Float32Array | Uint8Array>(
  array: A,
  heads: number,
  row: number,
  steps: number,
  length: number,
  width: number,
): A {
  const all = array.subarray(row * heads * steps * width, (row + 1) * heads * steps * width) as A;
  if (all.length === array.length && length === steps) return all;
  const extracted = array.slice(0, heads * length * width) as A;
  for (let head = 0; head < heads; head++) {
    const start = head * steps * width;
    extracted.set(all.subarray(start, start + length * width), head * length * width);
  }
  return extracted;
}
