import assert from 'node:assert/strict';
import { test } from 'node:test';
import { extractKvBlock, type KvBlock, KvCache, kvBytesPerPosition } from './kv-cache.ts';

const SHAPE = { layers: 2, kvHeads: 2, headDim: 4 };
const WIDTH = 2 * 2 * 2 * 4;
const BYTES_PER_POSITION = kvBytesPerPosition(SHAPE);

/** A distinct value for each sequence, position and index in it. */
const valueAt = (sequence: number, position: number, index: number) => 1000 * sequence + 10 * position + index / 100;

function makeNewKv(sequence: number, from: number, steps: number): Float32Array {
  // [layers · 2 · KV, steps, hd]
  return Float32Array.from({ length: steps * WIDTH }, (_, i) => {
    const [at, step, head] = [
      i % SHAPE.headDim,
      Math.floor(i / SHAPE.headDim) % steps,
      Math.floor(i / (SHAPE.headDim * steps)),
    ];
    return valueAt(sequence, from + step, SHAPE.headDim * head + at);
  });
}

function makeBlock(sequence: number, from: number, length: number): KvBlock {
  return extractKvBlock(SHAPE, makeNewKv(sequence, from, length), 0, length, length);
}

/** Asserts that the row has the values of the sequence's first `length` positions. */
function assertRow(cache: KvCache, row: number, sequence: number, length: number): void {
  assert.equal(cache.lengths[row], length);
  for (const [i, array] of cache.arrays.entries()) {
    for (let head = 0; head < SHAPE.kvHeads; head++) {
      for (let position = 0; position < length; position++) {
        for (let at = 0; at < SHAPE.headDim; at++) {
          const found = array[((row * SHAPE.kvHeads + head) * cache.allocatedLength + position) * SHAPE.headDim + at];
          const index = (i * SHAPE.kvHeads + head) * SHAPE.headDim + at;
          assert.equal(found, Math.fround(valueAt(sequence, position, index)), `${sequence} at ${position}`);
        }
      }
    }
  }
}

function addRow(cache: KvCache, sequence: number, length: number): void {
  cache.appendBlock(cache.addRow(length), makeBlock(sequence, 0, length));
}

/** Appends the next position of each sequence. */
function appendStep(cache: KvCache, sequences: number[]): void {
  const newKv = new Float32Array(sequences.length * WIDTH);
  for (const [row, sequence] of sequences.entries())
    newKv.set(makeNewKv(sequence, cache.lengths[row]!, 1), row * WIDTH);
  cache.appendStep(newKv);
}

test('rows keep their values while the cache grows in rows and in length', () => {
  const cache = new KvCache(SHAPE);
  addRow(cache, 1, 60);
  for (let i = 0; i < 10; i++) appendStep(cache, [1]);
  addRow(cache, 2, 5);
  cache.appendBlock(1, makeBlock(2, 5, 70));
  addRow(cache, 3, 1);
  for (let i = 0; i < 70; i++) appendStep(cache, [1, 2, 3]);
  for (const [row, length] of [140, 145, 71].entries()) assertRow(cache, row, row + 1, length);
  assert.equal(cache.allocatedLength, 192);
});

test('extracts the block of one row among padded rows', () => {
  const steps = 5;
  const newKv = new Float32Array(3 * steps * WIDTH);
  for (const row of [0, 1, 2]) newKv.set(makeNewKv(row, 0, steps), row * steps * WIDTH);
  assert.deepEqual(extractKvBlock(SHAPE, newKv, 1, steps, 3), makeBlock(1, 0, 3));
});

test('the last row takes the index of a removed row', () => {
  const cache = new KvCache(SHAPE);
  for (const sequence of [1, 2, 3, 4]) addRow(cache, sequence, 10 * sequence);
  cache.removeRow(1);
  cache.removeRow(2);
  assertRow(cache, 0, 1, 10);
  assertRow(cache, 1, 4, 40);
  assert.equal(cache.lengths.length, 2);
});

test('a row that leaves one allocated position free grows only at the next step', () => {
  const cache = new KvCache(SHAPE);
  addRow(cache, 1, 63);
  assert.equal(cache.allocatedLength, 64);
  appendStep(cache, [1]);
  assert.equal(cache.allocatedLength, 128);
});

test('removing rows frees memory, and removing the last row frees all of it', () => {
  const cache = new KvCache(SHAPE);
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

test('outgrown arrays are freed immediately', () => {
  const cache = new KvCache(SHAPE);
  addRow(cache, 1, 10);
  const old = [...cache.arrays];
  const { version } = cache;
  addRow(cache, 2, 100);
  assert.ok(cache.version > version);
  assert.ok(old.every(({ buffer }) => (buffer as ArrayBuffer).detached));
});

test('maxBytes limits spare rows, but not rows in use', () => {
  const cache = new KvCache(SHAPE, 6 * 64 * BYTES_PER_POSITION);
  for (let sequence = 0; sequence < 5; sequence++) addRow(cache, sequence, 10);
  assert.equal(cache.bytes, 5 * 64 * BYTES_PER_POSITION, 'eight rows would exceed maxBytes');
  for (let i = 0; i < 60; i++) appendStep(cache, [0, 1, 2, 3, 4]);
  assert.equal(cache.bytes, 5 * 128 * BYTES_PER_POSITION);
  for (const row of [0, 1, 2, 3, 4]) assertRow(cache, row, row, 70);
});

test('wiping a removed row clears its NaN', () => {
  const cache = new KvCache(SHAPE);
  addRow(cache, 1, 3);
  addRow(cache, 2, 5);
  for (const array of cache.arrays) array.fill(Number.NaN, SHAPE.kvHeads * cache.allocatedLength * SHAPE.headDim);
  cache.removeRow(1, { wipe: true });
  addRow(cache, 3, 1);
  assert.ok(cache.arrays.every((array) => array.every(Number.isFinite)));
});
