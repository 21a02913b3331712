import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seedRandom } from './random.ts';

const drawNumbers = (seed: number, stream: number, count = 5) => {
  const random = seedRandom(seed, stream);
  return Array.from({ length: count }, random);
};

test('equal seeds and streams draw equal numbers, and different ones draw different numbers', () => {
  assert.deepEqual(drawNumbers(7, 0), drawNumbers(7, 0));
  const firsts = [
    drawNumbers(7, 0),
    drawNumbers(7, 1),
    drawNumbers(8, 0),
    drawNumbers(-7, 0),
    drawNumbers(7.5, 0),
    drawNumbers(7 + 2 ** 40, 0),
  ].map(([x]) => x);
  assert.equal(new Set(firsts).size, firsts.length);
});

test('numbers are uniform in [0, 1), across neighbouring seeds and streams too', () => {
  for (const numbers of [
    drawNumbers(1, 0, 20_000),
    Array.from({ length: 20_000 }, (_, seed) => drawNumbers(seed, 0, 1)[0]!),
    Array.from({ length: 20_000 }, (_, stream) => drawNumbers(3, stream, 1)[0]!),
  ]) {
    assert.ok(numbers.every((x) => x >= 0 && x < 1));
    const bins = new Array<number>(20).fill(0);
    for (const x of numbers) bins[Math.floor(x * 20)]!++;
    const chiSquare = bins.reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0);
    assert.ok(chiSquare < 43.8, `chi-square ${chiSquare} with 19 degrees of freedom`); // p = 0.001
  }
});
