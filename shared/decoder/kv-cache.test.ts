import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type KvFormat, kvBytesPerPosition } from '../onnx/kv-format.ts';
import { extractKvBlock, type KvBlock, KvCache, type NewKv } from './kv-cache.ts';

const SHAPE = { layers: 2, kvHeads: 2, headDim: 4 };
const WIDTH = 2 * 2 * 2 * 4;
const HEADS = WIDTH / SHAPE.headDim;

/** A distinct value for each sequence, position and index in it. */
const valueAt = (sequence: number, position: number, index: number) => 1000 * sequence + 10 * position + index / 100;

/** Integers as they are in a byte: distinct for neighbours. */
const byteAt = (sequence: number, position: number, index: number) => (97 * sequence + 5 * position + index) % 256;

function makeNewKv(format: KvFormat, sequence: number, from: number, steps: number): NewKv {
  // [layers · 2 · KV, steps, hd]
  const make = (value: typeof valueAt) => (_: unknown, i: number) => {
    const [at, step, head] = [
      i % SHAPE.headDim,
      Math.floor(i / SHAPE.headDim) % steps,
      Math.floor(i / (SHAPE.headDim * steps)),
    ];
    return value(sequence, from + step, SHAPE.headDim * head + at);
  };
  const length = steps * WIDTH;
  if (format === 'float32') return { data: Float32Array.from({ length }, make(valueAt)), scales: null };
  const scales = Float32Array.from({ length: steps * HEADS }, (_, i) =>
    valueAt(sequence, from + (i % steps), Math.floor(i / steps)),
  );
  return { data: Uint8Array.from({ length }, make(byteAt)), scales };
}

function makeBlock(format: KvFormat, sequence: number, from: number, length: number): KvBlock {
  return extractKvBlock(SHAPE, makeNewKv(format, sequence, from, length), 0, length, length);
}

/** Asserts that the row has the values of the sequence's first `length` positions. */
function assertRow(cache: KvCache, row: number, sequence: number, length: number): void {
  assert.equal(cache.lengths[row], length);
  const T = cache.allocatedLength;
  for (const [i, array] of cache.arrays.entries()) {
    const layer = Math.floor(i / cache.planes.length);
    const { name, type, outer, inner } = cache.planes[i % cache.planes.length]!;
    const kind = name.startsWith('past_key') ? 0 : 1;
    for (let head = 0; head < SHAPE.kvHeads; head++) {
      const vector = (2 * layer + kind) * SHAPE.kvHeads + head;
      for (let position = 0; position < length; position++) {
        if (name.endsWith('scale')) {
          const found = array[(row * SHAPE.kvHeads + head) * T + position];
          assert.equal(
            found,
            Math.fround(valueAt(sequence, position, vector)),
            `${name} of ${sequence} at ${position}`,
          );
          continue;
        }
        for (let at = 0; at < SHAPE.headDim; at++) {
          // [rows, KV, hd, T] if a position has one number of each of the rows · KV · hd, else [rows, KV, T, hd]
          const index =
            inner === 1
              ? (row * outer + head * SHAPE.headDim + at) * T + position
              : ((row * outer + head) * T + position) * inner + at;
          const value = (type === 'uint8' ? byteAt : valueAt)(sequence, position, SHAPE.headDim * vector + at);
          assert.equal(array[index], Math.fround(value), `${name} of ${sequence} at ${position}`);
        }
      }
    }
  }
}

function addRow(cache: KvCache, sequence: number, length: number): void {
  cache.appendBlock(cache.addRow(length), makeBlock(formatOf(cache), sequence, 0, length));
}

const formatOf = ({ planes }: KvCache): KvFormat => (planes[0]!.type === 'uint8' ? 'int8' : 'float32');

function concatRows(format: KvFormat, rows: NewKv[]): NewKv {
  const data = rows.flatMap((row) => [...row.data]);
  return format === 'float32'
    ? { data: Float32Array.from(data), scales: null }
    : { data: Uint8Array.from(data), scales: Float32Array.from(rows.flatMap(({ scales }) => [...scales!])) };
}

/** Appends the next position of each sequence. */
function appendStep(cache: KvCache, sequences: number[]): void {
  const format = formatOf(cache);
  cache.appendStep(
    concatRows(
      format,
      sequences.map((sequence, row) => makeNewKv(format, sequence, cache.lengths[row]!, 1)),
    ),
  );
}

for (const format of ['float32', 'int8'] as const) {
  const BYTES_PER_POSITION = kvBytesPerPosition(SHAPE, format);

  test(`${format}: rows keep their values while the cache grows in rows and in length`, () => {
    const cache = new KvCache(SHAPE, format);
    addRow(cache, 1, 60);
    for (let i = 0; i < 10; i++) appendStep(cache, [1]);
    addRow(cache, 2, 5);
    cache.appendBlock(1, makeBlock(format, 2, 5, 70));
    addRow(cache, 3, 1);
    for (let i = 0; i < 70; i++) appendStep(cache, [1, 2, 3]);
    for (const [row, length] of [140, 145, 71].entries()) assertRow(cache, row, row + 1, length);
    assert.equal(cache.allocatedLength, 192);
  });

  test(`${format}: extracts the block of one row among padded rows`, () => {
    const steps = 5;
    const newKv = concatRows(
      format,
      [0, 1, 2].map((row) => makeNewKv(format, row, 0, steps)),
    );
    assert.deepEqual(extractKvBlock(SHAPE, newKv, 1, steps, 3), makeBlock(format, 1, 0, 3));
  });

  test(`${format}: the last row takes the index of a removed row`, () => {
    const cache = new KvCache(SHAPE, format);
    for (const sequence of [1, 2, 3, 4]) addRow(cache, sequence, 10 * sequence);
    cache.removeRow(1);
    cache.removeRow(2);
    assertRow(cache, 0, 1, 10);
    assertRow(cache, 1, 4, 40);
    assert.equal(cache.lengths.length, 2);
  });

  test(`${format}: a row that leaves one allocated position free grows only at the next step`, () => {
    const cache = new KvCache(SHAPE, format);
    addRow(cache, 1, 63);
    assert.equal(cache.allocatedLength, 64);
    appendStep(cache, [1]);
    assert.equal(cache.allocatedLength, 128);
  });

  test(`${format}: removing rows frees memory, and removing the last row frees all of it`, () => {
    const cache = new KvCache(SHAPE, format);
    for (let sequence = 0; sequence < 16; sequence++) addRow(cache, sequence, 300);
    assert.equal(cache.bytes, 16 * 320 * BYTES_PER_POSITION);
    assert.equal(
      cache.arrays.reduce((sum, array) => sum + array.byteLength, 0),
      cache.bytes,
    );
    while (cache.lengths.length > 4) cache.removeRow(0);
    assert.equal(cache.bytes, 4 * 320 * BYTES_PER_POSITION);
    addRow(cache, 20, 3);
    while (cache.lengths.length > 1) cache.removeRow(cache.lengths.indexOf(300));
    assertRow(cache, 0, 20, 3);
    assert.equal(cache.bytes, 2 * 64 * BYTES_PER_POSITION);
    cache.removeRow(0);
    assert.equal(cache.bytes, 0);
  });

  test(`${format}: outgrown arrays are freed immediately`, () => {
    const cache = new KvCache(SHAPE, format);
    addRow(cache, 1, 10);
    const old = [...cache.arrays];
    const { version } = cache;
    addRow(cache, 2, 100);
    assert.ok(cache.version > version);
    assert.ok(old.every(({ buffer }) => (buffer as ArrayBuffer).detached));
  });

  test(`${format}: maxBytes limits spare rows, but not rows in use`, () => {
    const cache = new KvCache(SHAPE, format, 6 * 64 * BYTES_PER_POSITION);
    for (let sequence = 0; sequence < 5; sequence++) addRow(cache, sequence, 10);
    assert.equal(cache.bytes, 5 * 64 * BYTES_PER_POSITION, 'eight rows would exceed maxBytes');
    for (let i = 0; i < 60; i++) appendStep(cache, [0, 1, 2, 3, 4]);
    assert.equal(cache.bytes, 5 * 128 * BYTES_PER_POSITION);
    for (const row of [0, 1, 2, 3, 4]) assertRow(cache, row, row, 70);
  });

  test(`${format}: wiping a removed row clears its NaN`, () => {
    const cache = new KvCache(SHAPE, format);
    addRow(cache, 1, 3);
    addRow(cache, 2, 5);
    for (const [i, array] of cache.arrays.entries()) {
      const { outer, inner } = cache.planes[i % cache.planes.length]!;
      array.fill(Number.NaN, outer * cache.allocatedLength * inner);
    }
    cache.removeRow(1, { wipe: true });
    addRow(cache, 3, 1);
    assert.ok(cache.arrays.every((array) => array.every(Number.isFinite)));
  });
}
