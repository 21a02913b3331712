// Keys and values of the rows that decode together: per layer one array [rows, KV, T, hd], so that the first B rows are
// one ONNX tensor without a copy. Rows are dense: when one leaves, the last takes its place. T grows in steps, because
// the cost of a decoding step grows with it whatever the rows' own lengths are.
import type { Architecture } from '../policy/architecture.ts';

const STEP = 64;

export class KvCache {
  /** How many positions of each row are filled; its length is the number of rows. */
  readonly lengths: number[] = [];
  /** T: positions allocated per row. */
  allocated = 0;
  /** Per layer the keys, then the values. */
  arrays: Float32Array[] = [];
  private capacity = 0;
  private readonly layers: number;
  private readonly kvHeads: number;
  private readonly headDim: number;

  constructor(architecture: Pick<Architecture, 'layers' | 'kvHeads' | 'headDim'>) {
    this.layers = architecture.layers;
    this.kvHeads = architecture.kvHeads;
    this.headDim = architecture.headDim;
  }

  /** Numbers per row in one array. */
  get stride(): number {
    return this.kvHeads * this.allocated * this.headDim;
  }

  /** Adds an empty row and returns its place. */
  addRow(): number {
    this.lengths.push(0);
    this.reserve(0);
    return this.lengths.length - 1;
  }

  /** Adds a row with what the first row of another cache holds. */
  addCopy(source: KvCache): number {
    const row = this.addRow();
    const length = source.lengths[0]!;
    this.reserve(length);
    this.lengths[row] = length;
    for (const [i, array] of this.arrays.entries()) this.copyRow(source.arrays[i]!, source.allocated, 0, array, row);
    return row;
  }

  /** Removes a row; the last row moves into its place. A row that held NaN must be wiped: 0 · NaN is NaN to the next. */
  removeRow(row: number, { wipe = false } = {}): void {
    const last = this.lengths.length - 1;
    if (wipe) for (const array of this.arrays) array.fill(0, row * this.stride, (row + 1) * this.stride);
    if (row !== last) {
      this.lengths[row] = this.lengths[last]!;
      for (const array of this.arrays) this.copyRow(array, this.allocated, last, array, row);
    }
    this.lengths.pop();
    if (last === 0) this.resize(0, 0);
    else if (roundUp(Math.max(...this.lengths) + 1) * 2 <= this.allocated) {
      this.resize(this.capacity, roundUp(Math.max(...this.lengths) + 1));
    }
  }

  /** Makes room for `length` positions in every row. */
  reserve(length: number): void {
    // One more than needed: the graph's reductions are exact over padding only if the last position stays padding.
    const allocated = Math.max(this.allocated, roundUp(length + 1));
    const rows = this.lengths.length;
    const capacity = rows > this.capacity ? Math.max(rows, 2 * this.capacity) : this.capacity;
    if (allocated !== this.allocated || capacity !== this.capacity) this.resize(capacity, allocated);
  }

  /** Appends `steps` positions to each row from the graph's new_kv [rows, steps, layers · 2 · KV · hd]. */
  append(fresh: Float32Array, steps: number): void {
    this.reserve(Math.max(...this.lengths) + steps);
    const { headDim, kvHeads, allocated } = this;
    let offset = 0;
    for (let row = 0; row < this.lengths.length; row++) {
      for (let step = 0; step < steps; step++) {
        const position = this.lengths[row]! + step;
        for (const array of this.arrays) {
          for (let head = 0; head < kvHeads; head++) {
            const target = ((row * kvHeads + head) * allocated + position) * headDim;
            // For heads of 32 to 128 numbers a loop is quicker than making a view.
            for (let i = 0; i < headDim; i++) array[target + i] = fresh[offset + i]!;
            offset += headDim;
          }
        }
      }
      this.lengths[row]! += steps;
    }
  }

  private resize(capacity: number, allocated: number): void {
    const old = { arrays: this.arrays, allocated: this.allocated };
    this.capacity = capacity;
    this.allocated = allocated;
    this.arrays = Array.from({ length: 2 * this.layers }, (_, i) => {
      const array = new Float32Array(capacity * this.stride);
      const source = old.arrays[i];
      if (source)
        for (let row = 0; row < this.lengths.length; row++) this.copyRow(source, old.allocated, row, array, row);
      return array;
    });
  }

  private copyRow(from: Float32Array, fromAllocated: number, fromRow: number, to: Float32Array, toRow: number): void {
    const filled = this.lengths[toRow]! * this.headDim;
    for (let head = 0; head < this.kvHeads; head++) {
      const start = (fromRow * this.kvHeads + head) * fromAllocated * this.headDim;
      to.set(from.subarray(start, start + filled), (toRow * this.kvHeads + head) * this.allocated * this.headDim);
    }
  }
}

function roundUp(length: number): number {
  return Math.ceil(length / STEP) * STEP;
}
