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
  isSteered: false,
  xid: '1',
  tenant: 'default',
  source: 'comparison',
  created_by: 'unknown',
  split,
  learnedIn: null,
});
const filter = (votes: RoundPair[], request: RoundRequest = {}, shares = { rater: 1, source: 1 }) =>
  filterPairs(votes, new Map(), tokenizer, architecture, completeRoundSettings(request, readSettings({})), shares);

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

test('pairs over the share of a rater are left out, neither outvote others, and are counted', () => {
  const shares = { rater: 0.25, source: 0.5 };
  const honest = ['r1', 'r2', 'r3'].flatMap((rater) => [vote(' up', ' a', rater), vote(' up', ' a', rater)]);
  const flood = Array.from({ length: 50 }, () => vote(' a', ' up', 'mallory'));
  const kept = filter([...honest, ...flood], {}, shares);
  assert.deepEqual([kept.pairs.length, kept.left_out.rater_share, kept.overShare.size], [8, 48, 48]);
  const weighed = filter([...honest, ...flood], { contradictions: 'weigh' }, shares);
  assert.equal(weighed.pairs[0]!.weight, 4 / 6);
  assert.ok(weighed.pairs.every(({ pair }) => pair.rater !== 'mallory'));
});

test('of held-out pairs no rater has more than a tenth, once there are ten', () => {
  const honest = Array.from({ length: 9 }, (_, at) =>
    Array.from({ length: 4 }, () => vote(' up', ' a', `r${at}`, 'held_out')),
  ).flat();
  const flood = Array.from({ length: 50 }, () => vote(' up', ' a', 'mallory', 'held_out'));
  assert.equal(filter([...honest, ...flood]).pairs.length, 40);
  assert.equal(filter([...honest.slice(4), ...flood]).pairs.length, 82);
});
