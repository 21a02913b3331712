import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findLimit, formatRatio, toTone } from './log-ratios.ts';

test('the colours reach to a round number, whatever the size of the log-ratios', () => {
  assert.deepEqual(
    [[0.03, -0.012], [0.11], [-3], [7, -2], [0, 0], []].map((ratios) => Number(findLimit(ratios).toPrecision(6))),
    [0.02, 0.2, 5, 2, 0.01, 0.01],
  );
  assert.equal(findLimit([...Array(99).fill(0.4), 40]), 0.5);
});

test('a token has the colour of its side, and none near 0', () => {
  assert.deepEqual(
    [0.05, 0.2, -0.3, 1, -9].map((ratio) => toTone(ratio, 1)),
    ['', 'more-1', 'less-2', 'more-4', 'less-4'],
  );
});

test('a log-ratio is written with its sign', () => {
  assert.deepEqual([0.1234, -2, 31.26, null].map(formatRatio), ['+0.123', '−2.000', '+31.3', '–']);
});
