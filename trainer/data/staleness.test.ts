import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PreferencePair } from './pairs.ts';
import { countByStaleness, getStaleness } from './staleness.ts';

const pair = (chosen: string | null, rejected: string | null): PreferencePair => ({
  id: 'pref_1',
  rater: 'r1',
  prompt: 'x',
  chosen: 'a',
  rejected: 'b',
  isSteered: false,
  sampled:
    chosen && rejected
      ? {
          promptIds: [1],
          chosen: { policyId: chosen, responseIds: [2], logps: null },
          rejected: { policyId: rejected, responseIds: [3], logps: null },
        }
      : null,
});
const ancestors = new Map([
  ['pol_3', 0],
  ['pol_2', 1],
  ['pol_1', 2],
]);

test('a pair is as stale as the staler of its two sides', () => {
  assert.equal(getStaleness(pair('pol_3', 'pol_3'), ancestors), 0);
  assert.equal(getStaleness(pair('pol_3', 'pol_1'), ancestors), 2);
});

test('an imported pair and one sampled by no ancestor have no staleness', () => {
  assert.equal(getStaleness(pair(null, null), ancestors), null);
  assert.equal(getStaleness(pair('pol_rolled_back', 'pol_rolled_back'), ancestors), null);
});

test('a side that no ancestor sampled does not lower the staleness of the other', () => {
  assert.equal(getStaleness(pair('pol_2', 'pol_rolled_back'), ancestors), 1);
});

test('pairs are counted by staleness, with null as unknown', () => {
  assert.deepEqual(countByStaleness([0, 1, null, 1, null]), { 0: 1, 1: 2, unknown: 2 });
});
