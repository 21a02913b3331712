import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createHadamard, createRotation, largestPowerOfTwo, type Rotation, rotateRows } from './rotation.ts';

/** R [size, size]: the rotated rows of the identity. */
function toMatrix(rotation: Rotation): Float32Array {
  const { size } = rotation;
  const matrix = Float32Array.from({ length: size * size }, (_, i) => (i % (size + 1) === 0 ? 1 : 0));
  rotateRows(matrix, rotation);
  return matrix;
}

/** The largest |(R Rᵀ − I)| */
function measureDeviation(matrix: Float32Array, size: number): number {
  let largest = 0;
  for (let row = 0; row < size; row++) {
    for (let other = 0; other < size; other++) {
      let sum = row === other ? -1 : 0;
      for (let i = 0; i < size; i++) sum += matrix[row * size + i]! * matrix[other * size + i]!;
      largest = Math.max(largest, Math.abs(sum));
    }
  }
  return largest;
}

for (const size of [1, 2, 7, 32, 48, 80, 96]) {
  test(`a rotation of ${size} dimensions is orthogonal, and the same for the same seed`, () => {
    const matrix = toMatrix(createRotation(size, 3));
    assert.ok(measureDeviation(matrix, size) < 1e-5);
    assert.deepEqual(toMatrix(createRotation(size, 3)), matrix);
    if (size > 2) assert.notDeepEqual(toMatrix(createRotation(size, 4)), matrix);
  });
}

test('a Hadamard matrix is its own inverse', () => {
  const x = Float32Array.from({ length: 96 }, (_, i) => Math.sin(i));
  const twice = x.slice();
  for (const _ of [1, 2]) rotateRows(twice, createHadamard(32));
  for (const [i, value] of x.entries()) assert.ok(Math.abs(twice[i]! - value) < 1e-6);
});

test('a rotation spreads an outlier over all dimensions', () => {
  const x = new Float32Array(576);
  x[17] = 100;
  rotateRows(x, createRotation(576, 0));
  assert.ok(Math.max(...x.map(Math.abs)) < 20);
});

test('the power of two that divides a size is limited', () => {
  assert.deepEqual(
    [576, 1536, 172, 7].map((size) => largestPowerOfTwo(size, 32)),
    [32, 32, 4, 1],
  );
});
