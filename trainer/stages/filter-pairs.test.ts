import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import type { Architecture } from '../../shared/model/architecture.ts';
import { completeRoundSettings, type RoundRequest } from '../../shared/rounds/settings.ts';
import { readSettings } from '../../shared/settings.ts';
import { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import { writeTinyCheckpoint } from '../../testing/tiny-checkpoint.ts';
import type { RoundPair } from '../data/round-pairs.ts';
import { filterPairs } from './filter-pairs.ts';

let folder: string;
let tokenizer: Tokenizer;
let architecture: Architecture;
before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'attune-filter-'));
  ({ architecture } = await writeTinyCheckpoint(folder));
  tokenizer = await Tokenizer.open(folder);
});
after(() => rm(folder, { recursive: true, force: true }));

const vote = (chosen: string, rejected: string, rater: string, split: RoundPair['split'] = 'train'): RoundPair => ({
  id: `pref_${rater}`,
  rater,
  prompt: 'Once',
  chosen,
  rejected,
  sampled: null,
  xid: '1',
  split,
  learnedIn: null,
});
const filter = (votes: RoundPair[], request: RoundRequest = {}) =>
  filterPairs(votes, new Map(), tokenizer, architecture, completeRoundSettings(request, readSettings({})));

// Three of four raters chose " up", and one pair is held out.
const votes = [
  vote(' up', ' a', 'r1'),
  vote(' up', ' a', 'r2'),
  vote(' up', ' a', 'r3', 'held_out'),
  vote(' a', ' up', 'r4'),
  vote(' a', ' a', 'r5'),
];

test('by default pairs of low quality are counted and keep their weight', () => {
  const { pairs, left_out, quality } = filter(votes);
  assert.deepEqual(
    pairs.map(({ weight }) => weight),
    [1, 1, 1, 1],
  );
  assert.deepEqual(quality, { near_identical: 0, contradictory: 4, low_agreement: 0 });
  assert.deepEqual([left_out.identical, left_out.contradictory], [1, 0]);
});

test('settings weigh and leave out training pairs, and no held-out pair', () => {
  const weighed = filter(votes, { contradictions: 'weigh' });
  assert.deepEqual(
    weighed.pairs.map(({ pair, weight }) => [pair.rater, weight]),
    [
      ['r1', 2 / 3],
      ['r2', 2 / 3],
      ['r3', 1],
    ],
  );
  assert.equal(weighed.left_out.contradictory, 1);
  for (const request of [{ contradictions: 'drop' }, { min_agreement: 0.8 }] as RoundRequest[]) {
    const { pairs, left_out, quality } = filter(votes, request);
    assert.deepEqual(
      pairs.map(({ pair }) => pair.rater),
      ['r3'],
    );
    assert.equal(left_out.contradictory + left_out.low_agreement, 3);
    assert.equal(quality.contradictory, 4);
  }
});
