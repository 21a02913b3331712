import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Candidate } from './pairs.ts';
import { ageOf, countAges } from './staleness.ts';

const pair = (chosen: string | null, rejected: string | null): Candidate => ({
  id: 'pref_1',
  prompt: 'x',
  chosen: 'a',
  rejected: 'b',
  sampled:
    chosen && rejected
      ? {
          promptIds: [1],
          chosen: { policyId: chosen, responseIds: [2], logps: null },
          rejected: { policyId: rejected, responseIds: [3], logps: null },
        }
      : null,
});
const forebears = new Map([
  ['pol_3', 0],
  ['pol_2', 1],
  ['pol_1', 2],
]);

test('a pair is as old as its older side', () => {
  assert.equal(ageOf(pair('pol_3', 'pol_3'), forebears), 0);
  assert.equal(ageOf(pair('pol_3', 'pol_1'), forebears), 2);
});

test('an imported pair, and one of a policy of another line, have no age', () => {
  assert.equal(ageOf(pair(null, null), forebears), null);
  assert.equal(ageOf(pair('pol_rolled_back', 'pol_rolled_back'), forebears), null);
});

test('a side that no forebear sampled does not make the other one younger', () => {
  assert.equal(ageOf(pair('pol_2', 'pol_rolled_back'), forebears), 1);
});

test('ages are counted, unknown ones by that name', () => {
  assert.deepEqual(countAges([0, 1, null, 1, null]), { 0: 1, 1: 2, unknown: 2 });
});
