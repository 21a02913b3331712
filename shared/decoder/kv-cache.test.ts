import assert from 'node:assert/strict';
import { test } from 'node:test';
import { extractKvBlock, type KvBlock, KvCache, kvBytesPerPosition } from './kv-cache.ts';

const SHAPE = { layers: 2, kvHeads: 2, headDim: 4 };
const WIDTH = 2 * 2 * 2 * 4;
const BYTES = kvBytesPerPosition(SHAPE);

/** What a position of a sequence holds: a number for each head and place in it. */
const numberAt = (sequence: number, position: number, place: number) => 1000 * sequence + 10 * position + place / 100;

function makeFresh(sequence: number, from: number, steps: number): Float32Array {
  // [layers · 2 · KV, steps, hd]
  return Float32Array.from({ length: steps * WIDTH }, (_, i) => {
    const [at, step, head] = [
      i % SHAPE.headDim,
      Math.floor(i / SHAPE.headDim) % steps,
      Math.floor(i / (SHAPE.headDim * steps)),
    ];
    return numberAt(sequence, from + step, SHAPE.headDim * head + at);
  });
}

function makeBlock(sequence: number, from: number, length: number): KvBlock {
  return extractKvBlock(SHAPE, makeFresh(sequence, from, length), 0, length, length);
}

/** Every filled position of the row holds what its sequence has there. */
function assertHolds(cache: KvCache, row: number, sequence: number, length: number): void {
  assert.equal(cache.lengths[row], length);
  for (const [i, array] of cache.arrays.entries()) {
    for (let head = 0; head < SHAPE.kvHeads; head++) {
      for (let position = 0; position < length; position++) {
        for (let at = 0; at < SHAPE.headDim; at++) {
          const found = array[((row * SHAPE.kvHeads + head) * cache.allocatedLength + position) * SHAPE.headDim + at];
          const place = (i * SHAPE.kvHeads + head) * SHAPE.headDim + at;
          assert.equal(found, Math.fround(numberAt(sequence, position, place)), `${sequence} at ${position}`);
        }
      }
    }
  }
}

function fill(cache: KvCache, sequence: number, length: number): void {
  cache.appendBlock(cache.addRow(length), makeBlock(sequence, 0, length));
}

/** A step in which each row of these sequences gets its next position. */
function step(cache: KvCache, sequences: number[]): void {
  const fresh = new Float32Array(sequences.length * WIDTH);
  for (const [row, sequence] of sequences.entries())
    fresh.set(makeFresh(sequence, cache.lengths[row]!, 1), row * WIDTH);
  cache.appendStep(fresh);
}

test('rows hold what was written and appended while the cache grows in rows and in length', () => {
  const cache = new KvCache(SHAPE);
  fill(cache, 1, 60);
  for (let i = 0; i < 10; i++) step(cache, [1]);
  fill(cache, 2, 5);
  cache.appendBlock(1, makeBlock(2, 5, 70));
  fill(cache, 3, 1);
  for (let i = 0; i < 70; i++) step(cache, [1, 2, 3]);
  for (const [row, length] of [140, 145, 71].entries()) assertHolds(cache, row, row + 1, length);
  assert.equal(cache.allocatedLength, 192);
});

test('a block of one row among padded ones is that row alone', () => {
  const steps = 5;
  const fresh = new Float32Array(3 * steps * WIDTH);
  for (const row of [0, 1, 2]) fresh.set(makeFresh(row, 0, steps), row * steps * WIDTH);
  assert.deepEqual(extractKvBlock(SHAPE, fresh, 1, steps, 3), makeBlock(1, 0, 3));
});

test('the last row takes the place of one that leaves', () => {
  const cache = new KvCache(SHAPE);
  for (const sequence of [1, 2, 3, 4]) fill(cache, sequence, 10 * sequence);
  cache.removeRow(1);
  cache.removeRow(2);
  assertHolds(cache, 0, 1, 10);
  assertHolds(cache, 1, 4, 40);
  assert.equal(cache.lengths.length, 2);
});

test('the last position of a row that fills its step stays empty', () => {
  const cache = new KvCache(SHAPE);
  fill(cache, 1, 63);
  assert.equal(cache.allocatedLength, 64);
  step(cache, [1]);
  assert.equal(cache.allocatedLength, 128);
});

test('memory comes back as rows leave, and all of it with the last', () => {
  const cache = new KvCache(SHAPE);
  for (let sequence = 0; sequence < 16; sequence++) fill(cache, sequence, 300);
  assert.equal(cache.bytes, 16 * 320 * BYTES);
  assert.equal(
    cache.arrays.reduce((sum, array) => sum + array.byteLength, 0),
    cache.bytes,
  );
  while (cache.lengths.length > 4) cache.removeRow(0);
  assert.equal(cache.bytes, 4 * 320 * BYTES);
  fill(cache, 20, 3);
  while (cache.lengths.length > 1) cache.removeRow(cache.lengths.indexOf(300));
  assertHolds(cache, 0, 20, 3);
  assert.equal(cache.bytes, 2 * 64 * BYTES);
  cache.removeRow(0);
  assert.equal(cache.bytes, 0);
});

test('arrays that are outgrown are freed at once', () => {
  const cache = new KvCache(SHAPE);
  fill(cache, 1, 10);
  const old = [...cache.arrays];
  const { version } = cache;
  fill(cache, 2, 100);
  assert.ok(cache.version > version);
  assert.ok(old.every(({ buffer }) => (buffer as ArrayBuffer).detached));
});

test('spare rows stay within the memory there is, and rows in use need not', () => {
  const cache = new KvCache(SHAPE, 6 * 64 * BYTES);
  for (let sequence = 0; sequence < 5; sequence++) fill(cache, sequence, 10);
  assert.equal(cache.bytes, 5 * 64 * BYTES, 'eight rows would be too much');
  for (let i = 0; i < 60; i++) step(cache, [0, 1, 2, 3, 4]);
  assert.equal(cache.bytes, 5 * 128 * BYTES);
  for (const row of [0, 1, 2, 3, 4]) assertHolds(cache, row, row, 70);
});

test('a row that held NaN leaves nothing of it behind', () => {
  const cache = new KvCache(SHAPE);
  fill(cache, 1, 3);
  fill(cache, 2, 5);
  for (const array of cache.arrays) array.fill(Number.NaN, SHAPE.kvHeads * cache.allocatedLength * SHAPE.headDim);
  cache.removeRow(1, { wipe: true });
  fill(cache, 3, 1);
  assert.ok(cache.arrays.every((array) => array.every(Number.isFinite)));
});
